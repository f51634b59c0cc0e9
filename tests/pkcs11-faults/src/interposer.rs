// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C side: a function list (PKCS#11 v2.40 §3.6) in which the calls a driver makes are ours and lead to the real
//! library, and all others are the real library's own.
#![allow(non_snake_case)]

use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use cryptoki_sys::*;

use crate::orders::{self, Effect};

const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Hands out the function list.
///
/// # Safety
/// `list` must be null or point to writable memory for a pointer, as PKCS#11 demands of its caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    static OURS: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
    let ours = OURS.get_or_init(|| {
        let mut ours = *real();
        interpose(&mut ours);
        ours.C_GetFunctionList = Some(C_GetFunctionList);
        ours
    });
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: not null, and then writable by this function's contract.
    unsafe { *list = std::ptr::from_ref(ours).cast_mut() };
    CKR_OK
}

/// The real library's functions; it stays loaded for ever.
fn real() -> &'static CK_FUNCTION_LIST {
    static REAL: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
    type GetFunctionList = unsafe extern "C" fn(CK_FUNCTION_LIST_PTR_PTR) -> CK_RV;
    REAL.get_or_init(|| {
        let path = std::env::var_os(crate::LIBRARY_VARIABLE).unwrap_or_else(|| SOFTHSM.into());
        // SAFETY: a PKCS#11 library's initialisers do nothing that another library's would not do.
        let library = unsafe { libloading::Library::new(&path) }
            .unwrap_or_else(|error| panic!("{}: {error}", PathBuf::from(&path).display()));
        let library = Box::leak(Box::new(library));
        // SAFETY: PKCS#11 gives this name to a function of this type.
        let get = unsafe { library.get::<GetFunctionList>(b"C_GetFunctionList") }
            .expect("the real library is a PKCS#11 library");
        let mut list = std::ptr::null_mut();
        // SAFETY: `list` is writable memory for a pointer.
        let rv = unsafe { get(&mut list) };
        assert_eq!(rv, CKR_OK, "the real library has a function list");
        // SAFETY: the library answered `CKR_OK`, so it points to its list, which is never changed.
        unsafe { *list }
    })
}

fn control() -> PathBuf {
    std::env::var_os(crate::CONTROL_VARIABLE)
        .unwrap_or_else(|| panic!("{} must name the file of orders", crate::CONTROL_VARIABLE))
        .into()
}

/// One call: what becomes of it before and after the real library works on it.
struct Call {
    function: &'static str,
    number: u64,
    effects: Vec<Effect>,
}

impl Call {
    fn begin(function: &'static str, calls: &AtomicU64) -> Self {
        let (control, number) = (control(), calls.fetch_add(1, Ordering::Relaxed) + 1);
        orders::record(&control, function);
        Self {
            effects: orders::effects(&control, function, number),
            function,
            number,
        }
    }

    /// Waits if it is told to, and gives the answer if the real library is not to be asked.
    fn before(&self) -> Option<CK_RV> {
        let mut answer = None;
        for effect in &self.effects {
            match effect {
                Effect::Answer(rv) => answer = Some(*rv),
                Effect::Delay(time) => thread::sleep(*time),
                Effect::Hold => {
                    let held = || {
                        orders::effects(&control(), self.function, self.number)
                            .contains(&Effect::Hold)
                    };
                    while held() {
                        thread::sleep(Duration::from_millis(1));
                    }
                }
                Effect::Xor { .. } | Effect::Fill(_) => {}
            }
        }
        answer
    }

    fn spoil(&self, output: &mut [u8]) {
        for effect in &self.effects {
            match effect {
                Effect::Xor { at, mask } => {
                    // A call that only asks for the length puts out nothing.
                    if let Some(byte) = output.get_mut(*at) {
                        *byte ^= mask;
                    }
                }
                Effect::Fill(byte) => output.fill(*byte),
                _ => {}
            }
        }
    }
}

/// The bytes a call put out; none where the caller gave no room.
///
/// # Safety
/// `start` must be null or point to `len` bytes that nobody else uses meanwhile.
unsafe fn output<'a>(start: *mut u8, len: usize) -> &'a mut [u8] {
    if start.is_null() {
        return &mut [];
    }
    // SAFETY: not null, and then valid by this function's contract.
    unsafe { std::slice::from_raw_parts_mut(start, len) }
}

macro_rules! interpose {
    ($($function:ident($($argument:ident: $type:ty),*) $(puts out $start:expr, $len:expr)?;)*) => {
        $(
            unsafe extern "C" fn $function($($argument: $type),*) -> CK_RV {
                static CALLS: AtomicU64 = AtomicU64::new(0);
                let call = Call::begin(stringify!($function), &CALLS);
                if let Some(answer) = call.before() {
                    return answer;
                }
                let Some(function) = real().$function else {
                    return CKR_FUNCTION_NOT_SUPPORTED;
                };
                // SAFETY: the arguments are the caller's, who owes this function the same as the real one.
                let rv = unsafe { function($($argument),*) };
                $(
                    if rv == CKR_OK {
                        // SAFETY: after `CKR_OK` the place of the output is the caller's memory, and its length was
                        // set by the real library or given by the caller.
                        call.spoil(unsafe { output($start, $len) });
                    }
                )?
                rv
            }
        )*

        fn interpose(list: &mut CK_FUNCTION_LIST) {
            $(list.$function = Some($function);)*
        }
    };
}

interpose! {
    C_Initialize(arguments: *mut c_void);
    C_Finalize(reserved: *mut c_void);
    C_GetSlotList(with_token: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG);
    C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO)
        puts out (&raw mut (*info).flags).cast(), size_of::<CK_FLAGS>();
    C_OpenSession(
        slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut c_void, notify: CK_NOTIFY,
        session: *mut CK_SESSION_HANDLE
    );
    C_CloseSession(session: CK_SESSION_HANDLE);
    C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO);
    C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, len: CK_ULONG);
    C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG);
    C_GetAttributeValue(
        session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG
    );
    C_CreateObject(
        session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, object: *mut CK_OBJECT_HANDLE
    );
    C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE);
    C_GenerateKeyPair(
        session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM,
        public: *mut CK_ATTRIBUTE, public_count: CK_ULONG,
        private: *mut CK_ATTRIBUTE, private_count: CK_ULONG,
        public_key: *mut CK_OBJECT_HANDLE, private_key: *mut CK_OBJECT_HANDLE
    );
    C_SignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    C_Sign(
        session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG,
        signature: *mut CK_BYTE, len: *mut CK_ULONG
    ) puts out signature, *len as usize;
    C_VerifyInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key: CK_OBJECT_HANDLE);
    C_Verify(
        session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG,
        signature: *mut CK_BYTE, len: CK_ULONG
    );
    C_DeriveKey(
        session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, base: CK_OBJECT_HANDLE,
        template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE
    );
    C_GenerateRandom(session: CK_SESSION_HANDLE, bytes: *mut CK_BYTE, len: CK_ULONG)
        puts out bytes, len as usize;
}
