// SPDX-License-Identifier: MIT OR Apache-2.0
//! What must hold for any flash content: run by `fuzz/` with a fuzzer and by `fuzz_seeds` over mutated seeds.

use smgw_flash_store::Store;
use smgw_flash_store::memory::Memory;

/// Whatever lies in flash, the store opens; what it finds it can read, and what is then written is found.
pub fn open(content: &[u8]) {
    const SECTOR: usize = 64;
    const SLOTS: u32 = 3;
    let mut bytes = content.to_vec();
    bytes.resize(6 * SECTOR, 0xFF);
    let flash = Memory::<4, SECTOR>::holding(bytes);
    let mut store = Store::open(flash, SLOTS).expect("memory can always be read");
    let mut buffer = [0; 2 * SECTOR];
    let found = store.read(&mut buffer).expect("what was found is whole");
    assert_eq!(found.map(<[u8]>::len), store.length());
    let generation = store.generation();
    let value: Vec<u8> = content.iter().copied().take(store.capacity()).collect();
    match store.replace(&value) {
        Ok(()) => assert_eq!(store.generation(), generation + 1),
        // Only a forged head comes that far.
        Err(error) => {
            assert_eq!(generation, u64::MAX - 1, "{error}");
            return;
        }
    }
    let mut again = Store::open(store.into_flash(), SLOTS).expect("memory can always be read");
    assert_eq!(again.read(&mut buffer), Ok(Some(&value[..])));
}
