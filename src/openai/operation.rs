//! What can be asked for.

/// An operation that is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Chat,
    Completions,
    Responses,
    Embeddings,
}

impl Operation {
    pub(super) const ALL: [Operation; 4] =
        [Operation::Chat, Operation::Completions, Operation::Responses, Operation::Embeddings];

    /// Its name in metrics and records.
    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Chat => "chat.completions",
            Operation::Completions => "completions",
            Operation::Responses => "responses",
            Operation::Embeddings => "embeddings",
        }
    }

    /// Its path, behind the prefix.
    pub(super) fn path(self) -> &'static str {
        match self {
            Operation::Chat => "/v1/chat/completions",
            Operation::Completions => "/v1/completions",
            Operation::Responses => "/v1/responses",
            Operation::Embeddings => "/v1/embeddings",
        }
    }

    /// The members of a request that bound its output, of which the largest counts.
    pub(super) fn output_limits(self) -> &'static [&'static str] {
        match self {
            Operation::Chat => &["max_completion_tokens", "max_tokens"],
            Operation::Completions => &["max_tokens"],
            Operation::Responses => &["max_output_tokens"],
            Operation::Embeddings => &[],
        }
    }

    /// The members of a request that say how many answers are made, of which the largest counts.
    pub(super) fn choices(self) -> &'static [&'static str] {
        match self {
            // OpenAI's chat has no `best_of`; that of other servers does.
            Operation::Chat | Operation::Completions => &["n", "best_of"],
            Operation::Responses | Operation::Embeddings => &[],
        }
    }

    /// The member with what is sent to the model.
    pub(super) fn input(self) -> &'static str {
        match self {
            Operation::Chat => "messages",
            Operation::Completions => "prompt",
            Operation::Responses | Operation::Embeddings => "input",
        }
    }

    /// The members of a request that bring along what is not in it: an earlier conversation, a
    /// stored prompt, what is found on the web.
    pub(super) fn unseen(self) -> &'static [&'static str] {
        match self {
            Operation::Chat => &["web_search_options"],
            Operation::Responses => &["previous_response_id", "conversation", "prompt"],
            Operation::Completions | Operation::Embeddings => &[],
        }
    }

    /// Whether a stream of it says what it used only when it is asked to.
    pub(super) fn asks_for_usage(self) -> bool {
        matches!(self, Operation::Chat | Operation::Completions)
    }
}
