//! Puts a document's owners and limits into an engine.

use super::document::Document;
use super::rule::Rule;
use std::collections::BTreeMap;
use std::error::Error;
use tollkeeper::{
    Budget, Concurrency, Dimension, Engine, Limit, LimitId, Money, OwnerId, RateLimit,
};

/// Puts them in, parents first.
pub fn install(engine: &Engine, document: &Document) -> Result<(), Box<dyn Error>> {
    let mut rest: Vec<(OwnerId, Vec<OwnerId>)> = document.family().collect();
    while !rest.is_empty() {
        let before = rest.len();
        let mut next = Vec::new();
        for (owner, parents) in rest {
            match engine.upsert_owner(&owner, &parents) {
                Ok(_) => {}
                Err(_) => next.push((owner, parents)),
            }
        }
        rest = next;
        if rest.len() == before {
            return Err(format!("{} has no parents that can be", rest[0].0).into());
        }
    }
    let mut limits: BTreeMap<(&str, &str), Vec<&Rule>> = BTreeMap::new();
    for rule in &document.rules {
        limits.entry((&rule.owner, &rule.limit)).or_default().push(rule);
    }
    for ((owner, limit), rules) in limits {
        engine.upsert_limit(&owner.parse()?, &LimitId::new(limit)?, definition(&rules)?)?;
    }
    Ok(())
}

fn definition(rules: &[&Rule]) -> Result<Limit, Box<dyn Error>> {
    let mut rate = RateLimit::new();
    for rule in rules {
        let period = rule.period.clone();
        match rule.dimension {
            Dimension::Money => {
                let most = rule.most.map(Money::from_nanos).transpose()?;
                return Ok(match most {
                    Some(most) => Budget::new(most, period).into(),
                    None => Budget::uncapped(period).into(),
                });
            }
            Dimension::InFlight => return Ok(Concurrency::new(rule.most.unwrap_or(0)).into()),
            Dimension::Tokens => rate = rate.tokens(rule.most, period).weights(rule.weights),
            Dimension::Requests => rate = rate.requests(rule.most, period),
        }
    }
    Ok(rate.into())
}
