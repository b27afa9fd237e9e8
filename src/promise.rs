//! An answer that comes later, for whoever waits: a future, or a thread that blocks.
//!
//! It needs no runtime. Whoever owes the answer may vanish (a thread that ends, a queue that is
//! dropped): then the wait ends as well, without one.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use oneshot::RecvTimeoutError;

use crate::task::block_on;

/// The right to give the answer, once.
pub(crate) struct Owed<T>(oneshot::Sender<T>);

/// The answer to come. Dropping it changes nothing for the one who owes it.
pub(crate) struct Promise<T>(Side<T>);

/// A promise is waited for in one of two ways, which the channel has as two types.
enum Side<T> {
    Blocking(oneshot::Receiver<T>),
    Polled(oneshot::AsyncReceiver<T>),
    Over,
}

/// Why a wait ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The time was up. The answer may still come.
    Late,
    /// Nobody owes the answer any more, or it was taken already.
    Gone,
}

/// A question and the right to answer it.
pub(crate) fn promise<T>() -> (Owed<T>, Promise<T>) {
    let (sender, receiver) = oneshot::channel();
    (Owed(sender), Promise(Side::Blocking(receiver)))
}

impl<T> Owed<T> {
    /// Gives the answer. Returns it if nobody waits any more.
    pub(crate) fn give(self, answer: T) -> Result<(), T> {
        self.0.send(answer).map_err(oneshot::SendError::into_inner)
    }

    /// Whether the one who asked has gone.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.0.is_closed()
    }
}

impl<T> Promise<T> {
    /// Blocks the thread until the answer comes, for so long at most.
    pub(crate) fn wait(&mut self, at_most: Option<Duration>) -> Result<T, Unanswered> {
        let Side::Blocking(receiver) = &self.0 else {
            // It was polled before: what a task gave up waiting for.
            return block_on(&mut *self, at_most).unwrap_or(Err(Unanswered::Late));
        };
        let answer = match at_most {
            Some(time) => receiver.recv_timeout(time),
            None => receiver.recv_ref().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match answer {
            Err(RecvTimeoutError::Timeout) => Err(Unanswered::Late),
            Err(RecvTimeoutError::Disconnected) => {
                self.0 = Side::Over;
                Err(Unanswered::Gone)
            }
            Ok(answer) => {
                self.0 = Side::Over;
                Ok(answer)
            }
        }
    }
}

impl<T> Future for Promise<T> {
    type Output = Result<T, Unanswered>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match std::mem::replace(&mut self.0, Side::Over) {
                Side::Blocking(receiver) => self.0 = Side::Polled(receiver.into_future()),
                Side::Over => return Poll::Ready(Err(Unanswered::Gone)),
                Side::Polled(mut receiver) => {
                    return match Pin::new(&mut receiver).poll(context) {
                        Poll::Ready(answer) => Poll::Ready(answer.map_err(|_| Unanswered::Gone)),
                        Poll::Pending => {
                            self.0 = Side::Polled(receiver);
                            Poll::Pending
                        }
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn poll<T>(promise: &mut Promise<T>) -> Poll<Result<T, Unanswered>> {
        Pin::new(promise).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_answer_reaches_a_thread_and_a_future_and_is_taken_once() {
        let (owed, mut promised) = promise();
        assert_eq!(promised.wait(Some(Duration::ZERO)), Err(Unanswered::Late));
        assert!(!owed.is_forgotten());
        assert_eq!(owed.give(7), Ok(()));
        assert_eq!(promised.wait(None), Ok(7));
        assert_eq!(promised.wait(None), Err(Unanswered::Gone));

        let (owed, mut promised) = promise();
        assert_eq!(poll(&mut promised), Poll::Pending);
        assert_eq!(owed.give(8), Ok(()));
        assert_eq!(poll(&mut promised), Poll::Ready(Ok(8)));
        assert_eq!(poll(&mut promised), Poll::Ready(Err(Unanswered::Gone)));
    }

    #[test]
    fn what_was_polled_can_be_waited_for_by_a_thread() {
        let (owed, mut promised) = promise();
        assert_eq!(poll(&mut promised), Poll::Pending);
        assert_eq!(promised.wait(Some(Duration::ZERO)), Err(Unanswered::Late));
        std::thread::scope(|threads| {
            let waits = threads.spawn(|| promised.wait(None));
            std::thread::sleep(Duration::from_millis(5));
            assert_eq!(owed.give(9), Ok(()));
            assert_eq!(waits.join().expect("no panic"), Ok(9));
        });
        let (owed, mut promised) = promise::<u8>();
        assert_eq!(poll(&mut promised), Poll::Pending);
        drop(owed);
        assert_eq!(promised.wait(None), Err(Unanswered::Gone));
    }

    #[test]
    fn either_side_may_vanish() {
        let (owed, promised) = promise();
        drop(promised);
        assert!(owed.is_forgotten());
        assert_eq!(owed.give(1), Err(1));

        let (owed, mut promised) = promise::<u8>();
        drop(owed);
        assert_eq!(promised.wait(None), Err(Unanswered::Gone));
        let (owed, mut promised) = promise::<u8>();
        drop(owed);
        assert_eq!(poll(&mut promised), Poll::Ready(Err(Unanswered::Gone)));
    }
}
