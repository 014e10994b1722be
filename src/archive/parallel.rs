//! The same for many things, on several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What `each` makes of every item, in the order of the items. The items are begun in order, `threads` at a time.
pub fn parallel_map<T: Sync, R: Send>(items: &[T], threads: usize, each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let results: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((item, result)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).zip(results.get(index))
        } {
            *result.lock().expect("a panic ends the process") = Some(each(item));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.min(items.len()) {
            scope.spawn(work);
        }
        work();
    });
    let taken = |result: Mutex<Option<R>>| result.into_inner().expect("a panic ends the process");
    results.into_iter().map(|result| taken(result).expect("every item was done")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_items() {
        let items: Vec<usize> = (0..1_000).collect();
        for threads in [1, 3, 64] {
            assert_eq!(parallel_map(&items, threads, |item| item + 1), (1..=1_000).collect::<Vec<_>>());
        }
        assert_eq!(parallel_map(&[], 4, |item: &usize| *item), Vec::<usize>::new());
    }
}
