//! The one room that names atomics, `Arc`, `ArcSwap` and loom.
//!
//! Everything below the loom ceiling takes its shared state from here, so that the same source is
//! either the real thing or, under `--cfg tollkeeper_loom`, a model that loom explores
//! exhaustively. What differs between the two worlds:
//!
//! | | real | under loom |
//! |---|---|---|
//! | [`AtomicWord`] | 128 bits, `portable-atomic` | 64 bits; the counter word shrinks to fit |
//! | [`ArcCell`] | `ArcSwap` | a loom mutex around an `Arc`, compared by pointer |
//! | [`Arc`] | `std` | loom's, which also reports leaks |
//! | [`Lazy`] | `OnceBox`, lock-free | `OnceLock` |
//!
//! arc-swap and parking_lot are invisible to loom, which is why they stay out of
//! everything that decides money.

#[cfg(not(tollkeeper_loom))]
mod real {
    pub(crate) use portable_atomic::AtomicU128 as AtomicWord;
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    /// The integer behind [`AtomicWord`].
    pub(crate) type Bits = u128;

    /// Text in 16 bytes: up to 15 bytes of it are in place, more are shared by clones. It shares
    /// bytes and synchronises nothing, so loom need not see it and both worlds use the same type.
    pub(crate) type Text = ecow::EcoString;

    /// A value that is made when it is first asked for, and takes one pointer until then.
    pub(crate) struct Lazy<T>(once_cell::race::OnceBox<T>);

    impl<T> Lazy<T> {
        pub(crate) fn new() -> Self {
            Self(once_cell::race::OnceBox::new())
        }

        /// The value, if it was made.
        pub(crate) fn get(&self) -> Option<&T> {
            self.0.get()
        }

        /// Of threads that make it at the same time, one value stays.
        pub(crate) fn get_or_make(&self, make: impl FnOnce() -> T) -> &T {
            self.0.get_or_init(|| Box::new(make()))
        }
    }

    /// A cell holding one immutable value behind an `Arc`, replaced by compare-and-swap.
    pub(crate) struct ArcCell<T>(arc_swap::ArcSwap<T>);

    /// A value read from an [`ArcCell`]. While it lives the value is not freed, so its address is
    /// not used again and comparing by pointer cannot mistake a newer value for this one.
    pub(crate) type Loaded<T> = arc_swap::Guard<Arc<T>>;

    /// A loaded value, to keep.
    pub(crate) fn keep<T>(loaded: Loaded<T>) -> Arc<T> {
        arc_swap::Guard::into_inner(loaded)
    }

    impl<T> ArcCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(arc_swap::ArcSwap::from_pointee(value))
        }

        /// A cell that holds what others hold too.
        pub(crate) fn of(value: Arc<T>) -> Self {
            Self(arc_swap::ArcSwap::new(value))
        }

        pub(crate) fn load(&self) -> Loaded<T> {
            self.0.load()
        }

        /// Installs `new` if the cell still holds exactly `seen`. Says whether it did.
        pub(crate) fn compare_and_swap(&self, seen: &Loaded<T>, new: Arc<T>) -> bool {
            let previous = self.0.compare_and_swap(&**seen, new);
            Arc::ptr_eq(&previous, seen)
        }

        /// Installs `new` whatever the cell holds.
        pub(crate) fn store(&self, new: Arc<T>) {
            self.0.store(new);
        }

        /// The value as an `Arc` of its own.
        pub(crate) fn load_full(&self) -> Arc<T> {
            self.0.load_full()
        }
    }
}

#[cfg(tollkeeper_loom)]
mod modelled {
    pub(crate) use loom::sync::Arc;
    pub(crate) use loom::sync::atomic::{AtomicU64, AtomicU64 as AtomicWord, Ordering};

    /// The integer behind [`AtomicWord`]: half as wide, so that loom can model it.
    pub(crate) type Bits = u64;

    /// Text in 16 bytes: up to 15 bytes of it are in place, more are shared by clones. It shares
    /// bytes and synchronises nothing, so loom need not see it and both worlds use the same type.
    pub(crate) type Text = ecow::EcoString;

    /// Made once by a lock of std: who makes it first decides nothing that loom should explore.
    pub(crate) struct Lazy<T>(std::sync::OnceLock<Box<T>>);

    impl<T> Lazy<T> {
        pub(crate) fn new() -> Self {
            Self(std::sync::OnceLock::new())
        }

        pub(crate) fn get_or_make(&self, make: impl FnOnce() -> T) -> &T {
            if let Some(made) = self.0.get() {
                return made;
            }
            // Outside of the lock, which loom cannot see: what makes it may be what loom switches
            // threads at.
            let made = Box::new(make());
            self.0.get_or_init(|| made)
        }
    }

    /// Stands in for `ArcSwap`: a loom mutex around an `Arc`, compared by pointer.
    pub(crate) struct ArcCell<T>(loom::sync::Mutex<Arc<T>>);

    /// A value read from an [`ArcCell`].
    pub(crate) type Loaded<T> = Arc<T>;

    /// A loaded value, to keep.
    pub(crate) fn keep<T>(loaded: Loaded<T>) -> Arc<T> {
        loaded
    }

    impl<T> ArcCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(Arc::new(value)))
        }

        /// A cell that holds what others hold too.
        pub(crate) fn of(value: Arc<T>) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn load(&self) -> Loaded<T> {
            self.0.lock().expect("no thread panics while it holds the cell").clone()
        }

        /// Installs `new` if the cell still holds exactly `seen`. Says whether it did.
        pub(crate) fn compare_and_swap(&self, seen: &Loaded<T>, new: Arc<T>) -> bool {
            let mut held = self.0.lock().expect("no thread panics while it holds the cell");
            let same = Arc::ptr_eq(&held, seen);
            if same {
                *held = new;
            }
            same
        }
    }
}

#[cfg(tollkeeper_loom)]
pub(crate) use modelled::*;
#[cfg(not(tollkeeper_loom))]
pub(crate) use real::*;

/// Threads and models for tests: one test body, run by loom over every interleaving or, in the real
/// world, often enough to be worth its time.
#[cfg(test)]
pub(crate) mod testing {
    /// Shared by the threads of a model and no part of what is modelled.
    pub(crate) type Unmodelled<T> = std::sync::Arc<T>;

    #[cfg(tollkeeper_loom)]
    pub(crate) use loom::{model, thread};
    #[cfg(not(tollkeeper_loom))]
    pub(crate) use std::thread;

    #[cfg(not(tollkeeper_loom))]
    pub(crate) fn model(body: impl Fn()) {
        (0..200).for_each(|_| body());
    }
}
