// SPDX-License-Identifier: MIT OR Apache-2.0
//! Power fails at every operation of a replacement and in the middle of each: the old or the new value is there.

use proptest::prelude::*;
use smgw_flash_store::memory::{Cut, Memory, MemoryError, Torn};
use smgw_flash_store::{Error, Store};

/// The head of a record, which makes its value count.
const HEAD_BYTES: u64 = 32;

/// The value in the flash after a restart.
fn after_restart<const WRITE: usize, const ERASE: usize>(
    flash: &Memory<WRITE, ERASE>,
    slots: u32,
) -> (Store<Memory<WRITE, ERASE>>, Option<Vec<u8>>) {
    let mut flash = flash.clone();
    flash.restore_power();
    // What was programmed is what can be seen: a restart has no memory of the operation it interrupted.
    let flash = Memory::holding(flash.bytes().to_vec());
    let mut store = Store::open(flash, slots).expect("an interruption is no error");
    let mut buffer = vec![0; store.capacity()];
    let value = store.read(&mut buffer).expect("what was found is whole");
    let value = value.map(<[u8]>::to_vec);
    (store, value)
}

/// Values of a length; no two of different numbers are alike.
fn value(number: u8, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| number.wrapping_mul(31).wrapping_add(at as u8))
        .collect()
}

fn torn_ways() -> Vec<Torn> {
    let bytes = [1, 2, 3, 5, 17, 31, 63, 100].map(Torn::Bytes);
    let bits = (0..8).map(Torn::Bits);
    [Torn::Before]
        .into_iter()
        .chain(bytes)
        .chain(bits)
        .collect()
}

/// Cuts at every operation of replacing value `number - 1` by value `number`, after `number - 1` replacements.
fn cut_everywhere<const WRITE: usize, const ERASE: usize>(
    sectors: usize,
    slots: u32,
    length: usize,
) {
    // Over more replacements than there are slots, so that erased, written and torn slots are all overwritten.
    for number in 0..=slots as u8 + 1 {
        let mut store =
            Store::open(Memory::<WRITE, ERASE>::erased(sectors), slots).expect("a layout");
        for before in 0..number {
            store.replace(&value(before, length)).expect("power");
        }
        let old = number.checked_sub(1).map(|before| value(before, length));
        let new = value(number, length);
        let flash = store.into_flash();
        let before = flash.operations();
        let mut whole = Store::open(flash.clone(), slots).expect("a layout");
        whole.replace(&new).expect("power");
        let operations = whole.into_flash().operations() - before;
        assert!(operations > length as u64 / WRITE as u64);
        for (after, torn) in (0..=operations)
            .flat_map(|after| torn_ways().into_iter().map(move |torn| (after, torn)))
        {
            let mut flash = flash.clone();
            flash.cut_power(Cut { after, torn });
            let mut store = Store::open(flash, slots).expect("a layout");
            let outcome = store.replace(&new);
            assert_eq!(outcome.is_ok(), after == operations, "{after} {torn:?}");
            let (mut store, found) = after_restart(&store.into_flash(), slots);
            let is_new = found.as_ref() == Some(&new);
            assert!(is_new || found == old, "{after} {torn:?}: {found:?}");
            // All operations leave the new value, and none before those that write its head.
            assert!(is_new || after < operations);
            assert!(!is_new || after + HEAD_BYTES.div_ceil(WRITE as u64) >= operations);
            // And life goes on.
            let next = value(number + 1, length);
            store.replace(&next).expect("power is back");
            assert_eq!(after_restart(&store.into_flash(), slots).1, Some(next));
        }
    }
}

#[test]
fn words_in_two_slots() {
    cut_everywhere::<4, 64>(2, 2, 32);
}

#[test]
fn words_in_slots_of_several_sectors() {
    cut_everywhere::<4, 64>(12, 4, 150);
}

#[test]
fn single_bytes() {
    cut_everywhere::<1, 64>(4, 2, 41);
}

/// As the STM32H7 programs.
#[test]
fn units_of_thirty_two_bytes() {
    cut_everywhere::<32, 256>(4, 2, 300);
}

#[test]
fn units_larger_than_a_head() {
    cut_everywhere::<64, 256>(3, 3, 100);
}

/// Power fails again while the interrupted replacement is repeated.
#[test]
fn cut_after_cut() {
    const SLOTS: u32 = 3;
    let mut flash = Memory::<4, 64>::erased(6);
    let mut held = None;
    for round in 0..400_u32 {
        let new = value(round as u8, 60);
        flash.cut_power(Cut {
            after: u64::from(round * 7 % 27),
            torn: torn_ways()[round as usize % torn_ways().len()],
        });
        let mut store = Store::open(flash, SLOTS).expect("a layout");
        let written = store.replace(&new).is_ok();
        let (store, found) = after_restart(&store.into_flash(), SLOTS);
        assert!(
            found.as_ref() == Some(&new) || (!written && found == held),
            "round {round}"
        );
        held = found;
        flash = store.into_flash();
    }
    assert!(held.is_some());
}

#[test]
fn wear_is_spread_over_all_slots() {
    const SLOTS: u32 = 4;
    let mut store = Store::open(Memory::<4, 64>::erased(4), SLOTS).expect("a layout");
    let mut changed = [0; SLOTS as usize];
    for number in 0..40 {
        let before = store.into_flash();
        store = Store::open(before.clone(), SLOTS).expect("a layout");
        store.replace(&value(number, 20)).expect("power");
        let now = store.into_flash();
        for (slot, count) in changed.iter_mut().enumerate() {
            let bytes = slot * 64..(slot + 1) * 64;
            *count += usize::from(before.bytes()[bytes.clone()] != now.bytes()[bytes]);
        }
        store = Store::open(now, SLOTS).expect("a layout");
    }
    assert_eq!(changed, [10; SLOTS as usize]);
}

#[test]
fn limits_are_told() {
    let open = |sectors, slots| Store::open(Memory::<4, 64>::erased(sectors), slots);
    for (sectors, slots) in [(0, 2), (4, 0), (4, 1), (1, 2), (4, u32::MAX)] {
        let layout = Error::Layout {
            capacity: sectors * 64,
            slots,
        };
        assert_eq!(open(sectors, slots).err(), Some(layout));
    }
    let mut store = open(4, 2).expect("a layout");
    assert_eq!(store.capacity(), 96);
    assert_eq!(store.read(&mut []), Ok(None));
    let too_long = Error::TooLong {
        length: 97,
        capacity: 96,
    };
    assert_eq!(store.replace(&[0; 97]), Err(too_long));
    store.replace(&[1; 96]).expect("it fits");
    assert_eq!(
        store.read(&mut [0; 95]),
        Err(Error::BufferTooShort { length: 96 })
    );
    store.replace(&[]).expect("nothing fits");
    assert_eq!(store.read(&mut []), Ok(Some(&[][..])));
    assert_eq!(store.generation(), 2);
}

#[test]
fn dead_flash_is_no_empty_flash() {
    let mut flash = Memory::<4, 64>::erased(4);
    flash.cut_power(Cut {
        after: 0,
        torn: Torn::Before,
    });
    let mut store = Store::open(flash, 2).expect("reading needs no operation");
    assert_eq!(
        store.replace(&[1]),
        Err(Error::Flash(MemoryError::PowerCut))
    );
    assert_eq!(store.generation(), 0);
}

/// What happens to a device in the course of its life.
#[derive(Clone, Debug)]
enum Step {
    Replace(Vec<u8>),
    CutWhileReplacing(Vec<u8>, u64, Torn),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let value = || prop::collection::vec(any::<u8>(), 0..=96);
    let torn = prop_oneof![
        Just(Torn::Before),
        (0..64_usize).prop_map(Torn::Bytes),
        any::<u64>().prop_map(Torn::Bits),
    ];
    prop_oneof![
        value().prop_map(Step::Replace),
        (value(), 0..40_u64, torn)
            .prop_map(|(value, after, torn)| Step::CutWhileReplacing(value, after, torn)),
        Just(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn any_history_keeps_the_last_value(steps in prop::collection::vec(step(), 1..30)) {
        const SLOTS: u32 = 3;
        let mut store = Store::open(Memory::<4, 64>::erased(6), SLOTS).expect("a layout");
        let mut held: Option<Vec<u8>> = None;
        for step in steps {
            match step {
                Step::Replace(value) => {
                    store.replace(&value).expect("power");
                    held = Some(value);
                }
                Step::CutWhileReplacing(value, after, torn) => {
                    let mut flash = store.into_flash();
                    flash.cut_power(Cut { after, torn });
                    let mut cut = Store::open(flash, SLOTS).expect("a layout");
                    let written = cut.replace(&value).is_ok();
                    let (reopened, found) = after_restart(&cut.into_flash(), SLOTS);
                    prop_assert!(found.as_ref() == Some(&value) || (!written && found == held));
                    (store, held) = (reopened, found);
                }
                Step::Restart => {
                    let (reopened, found) = after_restart(&store.into_flash(), SLOTS);
                    prop_assert_eq!(&found, &held);
                    store = reopened;
                }
            }
        }
        prop_assert_eq!(after_restart(&store.into_flash(), SLOTS).1, held);
    }
}
