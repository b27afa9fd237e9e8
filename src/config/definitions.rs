//! What limits are defined by, each read and planned once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::calendar::{CalendarDocument, Length, period};
use super::document::Percent;
use super::form::{List, Table, Text};
use super::rate::RequestsDocument;
use super::tokens::TokensDocument;
use super::{ConfigError, Definition};
use crate::budget::Budget;
use crate::concurrency::Concurrency;
use crate::limit::Limit;
use crate::plan::{Enforcement, LimitError};
use crate::rate_limit::RateLimit;
use crate::sync::Arc;
use crate::units::Money;

/// The definitions that were read so far. A document of a million owners has few: limits that are
/// written alike share one, and with it their plan.
#[derive(Default)]
pub(super) struct Definitions(HashMap<(Written, Enforcement), Arc<Definition>>);

/// A limit as it is written, but for its id, its anchor and its enforcement.
#[derive(PartialEq, Eq, Hash)]
pub(super) enum Written {
    Budget {
        limit: Option<Money>,
        period: Text<Length>,
        calendar: Option<Table<CalendarDocument>>,
        thresholds: List<Percent>,
    },
    RateLimit {
        tokens: Option<TokensDocument>,
        requests: Option<RequestsDocument>,
        thresholds: List<Percent>,
    },
    Concurrency {
        limit: u64,
    },
}

impl Definitions {
    /// What is written. An error is at the table of the limit.
    pub(super) fn of(
        &mut self,
        written: Written,
        enforcement: Enforcement,
    ) -> Result<Arc<Definition>, ConfigError> {
        let definition = match self.0.entry((written, enforcement)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let (written, enforcement) = new.key();
                let limit = written.limit(*enforcement)?;
                let plan = Arc::new(limit.plan().map_err(refused)?);
                new.insert(Arc::new(Definition { limit, plan }))
            }
        };
        Ok(Arc::clone(definition))
    }
}

impl Written {
    fn limit(&self, enforcement: Enforcement) -> Result<Limit, ConfigError> {
        Ok(match self {
            Written::Budget { limit, period: length, calendar, thresholds } => {
                let period = period(length, calendar.as_ref())?;
                let budget = match *limit {
                    Some(limit) => Budget::new(limit, period),
                    None => Budget::uncapped(period),
                };
                budget.thresholds(&percent(thresholds)).enforcement(enforcement).into()
            }
            Written::RateLimit { tokens, requests, thresholds } => {
                let mut limit = RateLimit::new().thresholds(&percent(thresholds));
                if let Some(tokens) = tokens {
                    limit = tokens.limit(limit).map_err(|error| error.within("tokens"))?;
                }
                if let Some(requests) = requests {
                    let period = period(&requests.period, requests.calendar.as_ref())
                        .map_err(|error| error.within("requests"))?;
                    limit = limit.requests(requests.limit, period);
                }
                limit.enforcement(enforcement).into()
            }
            Written::Concurrency { limit } => {
                Concurrency::new(*limit).enforcement(enforcement).into()
            }
        })
    }
}

fn percent(List(thresholds): &List<Percent>) -> Vec<u8> {
    thresholds.iter().map(|percent| u8::try_from(percent.0).expect("at most 100")).collect()
}

fn refused(error: LimitError) -> ConfigError {
    let field = match error {
        LimitError::WeightlessTokens => "tokens.weights",
        LimitError::Threshold { .. } | LimitError::Thresholds { .. } => "thresholds",
        // Amounts were checked where they were read.
        LimitError::TooLarge { .. } | LimitError::NothingCounted => "",
    };
    ConfigError::at(field, error)
}
