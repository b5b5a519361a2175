//! Collections that hold nothing or one for most of the time, in every one of very many connections.
//!
//! A standard one begins with room for several: the map of the rooms of a connection that is in one room would take ten
//! times what is in it.

use std::collections::VecDeque;

/// Adds an element. The first one gets room for itself alone; from there on it grows as any queue does.
pub(crate) fn push_back<T>(queue: &mut VecDeque<T>, element: T) {
    if queue.capacity() == 0 {
        queue.reserve_exact(1);
    }
    queue.push_back(element);
}

/// A map in one run of memory, in the order of its keys. To insert or to remove moves what stands behind.
#[derive(Debug, Clone)]
pub(crate) struct FewMap<K, V>(Vec<(K, V)>);

impl<K: Ord, V> FewMap<K, V> {
    /// Room for so many is kept by an empty map.
    const KEPT_MAX: usize = 8;

    /// An empty map, which takes no memory.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.place(key).ok().map(|at| &self.0[at].1)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.place(key).ok().map(|at| &mut self.0[at].1)
    }

    /// The value of a key, which is made where there is none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = self.place(&key).unwrap_or_else(|at| {
            self.insert_at(at, (key, make()));
            at
        });
        &mut self.0[at].1
    }

    /// Adds a value, in the place of what its key had before.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        match self.place(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.insert_at(at, (key, value)),
        }
    }

    /// Takes a key's value out.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let removed = self.place(key).ok().map(|at| self.0.remove(at).1);
        if self.0.is_empty() && self.0.capacity() > Self::KEPT_MAX {
            self.clear();
        }
        removed
    }

    /// All values, in the order of their keys.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.0.iter_mut().map(|(_, value)| value)
    }

    /// Takes everything out, and gives the memory back.
    pub(crate) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    fn place(&self, key: &K) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(key))
    }

    fn insert_at(&mut self, at: usize, entry: (K, V)) {
        if self.0.capacity() == 0 {
            self.0.reserve_exact(1);
        }
        self.0.insert(at, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn a_map_of_few_is_a_map(steps in vec((0..4, 0..8_u8, any::<u16>()), 0..100)) {
            let (mut few, mut plain) = (FewMap::new(), BTreeMap::new());
            for (step, key, value) in steps {
                match step {
                    0 => {
                        few.insert(key, value);
                        plain.insert(key, value);
                    }
                    1 => prop_assert_eq!(few.remove(&key), plain.remove(&key)),
                    2 => prop_assert_eq!(few.get_or_insert_with(key, || value), plain.entry(key).or_insert(value)),
                    _ => prop_assert_eq!(few.get_mut(&key), plain.get_mut(&key)),
                }
                prop_assert_eq!(few.get(&key), plain.get(&key));
            }
            prop_assert!(few.values_mut().eq(plain.values_mut()));
            few.clear();
            prop_assert_eq!(few.0.capacity(), 0);
        }
    }

    #[test]
    fn one_element_takes_the_room_of_one() {
        let mut queue = VecDeque::new();
        push_back(&mut queue, 1);
        let mut map = FewMap::new();
        map.insert(1, 1);
        assert_eq!((queue.capacity(), map.0.capacity()), (1, 1));
        push_back(&mut queue, 2);
        assert_eq!(queue, [1, 2]);
    }
}
