// SPDX-License-Identifier: MIT OR Apache-2.0
//! The threads on which a guarded module's calls run, and the count of those that do not come back.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Deadlines;
use crate::{ModuleError, Operation, Reason, SecurityModule};

/// The worker threads. The last one who drops this ends those that are not stuck.
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    deadlines: Deadlines,
    queue_limit: usize,
}

struct Shared {
    module: Arc<dyn SecurityModule>,
    state: Mutex<State>,
    /// Work came, or the end.
    work: Condvar,
    /// A worker finished something.
    finished: Condvar,
}

struct State {
    queue: VecDeque<Task>,
    /// By worker: until when the task it works on should be done; `None` when it works on nothing.
    busy: Vec<Option<Instant>>,
    next_task: u64,
    closed: bool,
}

struct Task {
    number: u64,
    due: Due,
    work: Work,
}

type Work = Box<dyn FnOnce(&dyn SecurityModule) + Send>;

/// When a task should be done.
#[derive(Clone, Copy)]
enum Due {
    /// Its caller gives up then.
    At(Instant),
    /// So long after it was begun; nobody waits for it.
    Within(Duration),
}

impl Workers {
    pub(super) fn start(
        module: Arc<dyn SecurityModule>,
        count: usize,
        deadlines: Deadlines,
        queue_limit: usize,
    ) -> io::Result<Self> {
        let workers = Self {
            shared: Arc::new(Shared {
                module,
                state: Mutex::new(State {
                    queue: VecDeque::new(),
                    busy: vec![None; count],
                    next_task: 0,
                    closed: false,
                }),
                work: Condvar::new(),
                finished: Condvar::new(),
            }),
            threads: Mutex::default(),
            deadlines,
            queue_limit,
        };
        for number in 0..count {
            let shared = workers.shared.clone();
            let thread = thread::Builder::new()
                .name(format!("module-{number}"))
                .spawn(move || shared.serve(number))?;
            workers.threads().push(thread);
        }
        Ok(workers)
    }

    /// Runs `work` on a worker and waits for it until the operation's deadline.
    pub(super) fn call<T: Send + 'static>(
        &self,
        operation: Operation,
        work: impl FnOnce(&dyn SecurityModule) -> Result<T, ModuleError> + Send + 'static,
    ) -> Result<T, ModuleError> {
        self.call_with(operation, (), move |(), module| work(module))
    }

    /// The same with a `load` that may only be dropped on a worker, also when the work is never begun.
    pub(super) fn call_with<L: Send + 'static, T: Send + 'static>(
        &self,
        operation: Operation,
        load: L,
        work: impl FnOnce(L, &dyn SecurityModule) -> Result<T, ModuleError> + Send + 'static,
    ) -> Result<T, ModuleError> {
        let limit = self.deadlines.of(operation);
        let deadline = Instant::now() + limit;
        let (answer, answered) = sync_channel(1);
        let load = Arc::new(Mutex::new(Some(load)));
        let taken = load.clone();
        let task = move |module: &dyn SecurityModule| {
            let load = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(load) = load {
                // An answer that comes too late has no receiver, and is dropped here, on the worker.
                let _ = answer.send(work(load, module));
            }
        };
        let outcome = self
            .submit(operation, deadline, Box::new(task))
            .and_then(|number| {
                let wait = deadline.saturating_duration_since(Instant::now());
                match answered.recv_timeout(wait) {
                    Ok(outcome) => outcome,
                    Err(RecvTimeoutError::Disconnected) => Err(ModuleError::module(format!(
                        "the module's driver broke down over {operation}"
                    ))),
                    Err(RecvTimeoutError::Timeout) => {
                        self.withdraw(number);
                        // The answer may have come between the two.
                        answered.try_recv().unwrap_or_else(|_| {
                            Err(timeout(format!(
                                "the security module did not answer {operation} within {limit:?}"
                            )))
                        })
                    }
                }
            });
        // What was refused or withdrawn still holds its load.
        let unused = load.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(unused) = unused.filter(|_| std::mem::needs_drop::<L>()) {
            self.dispose(unused);
        }
        outcome
    }

    /// Drops something on a worker, some time.
    pub(super) fn dispose(&self, rest: impl Send + 'static) {
        let due = Due::Within(self.disposal_limit());
        self.shared.state().push(due, Box::new(move |_| drop(rest)));
        self.shared.work.notify_one();
    }

    /// How many workers have overstayed.
    pub(super) fn stuck(&self) -> usize {
        self.shared.state().stuck(Instant::now())
    }

    /// How many calls no worker has begun.
    pub(super) fn waiting(&self) -> usize {
        self.shared.state().waiting()
    }

    fn submit(
        &self,
        operation: Operation,
        deadline: Instant,
        work: Work,
    ) -> Result<u64, ModuleError> {
        let mut state = self.shared.state();
        let stuck = state.stuck(Instant::now());
        if stuck == state.busy.len() {
            return Err(timeout(format!(
                "{operation} was not begun: the security module does not answer; stuck calls: {stuck}"
            )));
        }
        let waiting = state.waiting();
        if waiting >= self.queue_limit {
            return Err(timeout(format!(
                "{operation} was not begun: the security module is overloaded; calls waiting already: {waiting}"
            )));
        }
        let number = state.push(Due::At(deadline), work);
        drop(state);
        self.shared.work.notify_one();
        Ok(number)
    }

    /// Takes a task back that no worker has begun.
    fn withdraw(&self, number: u64) {
        let mut state = self.shared.state();
        let at = state.queue.iter().position(|task| task.number == number);
        let task = at.and_then(|at| state.queue.remove(at));
        drop(state);
        drop(task);
    }

    fn disposal_limit(&self) -> Duration {
        self.deadlines.of(Operation::Agree)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.work.notify_all();
        let threads: Vec<_> = self.threads().drain(..).collect();
        for (number, thread) in threads.into_iter().enumerate() {
            if self.shared.ends_in_time(number, self.disposal_limit()) {
                // A worker catches the module's panics and has none of its own to report.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers")
            .field("module", &self.shared.module)
            .field("stuck", &self.stuck())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock, so a poisoned lock still guards a sound state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's life: until the end, and then until the queue is empty.
    fn serve(&self, worker: usize) {
        let mut state = self.state();
        loop {
            if let Some(task) = state.queue.pop_front() {
                let until = match task.due {
                    Due::At(deadline) => deadline,
                    Due::Within(limit) => Instant::now() + limit,
                };
                state.set_busy(worker, Some(until));
                drop(state);
                // After a panic the caller finds its answer's channel closed.
                let _ = catch_unwind(AssertUnwindSafe(|| (task.work)(self.module.as_ref())));
                state = self.state();
                state.set_busy(worker, None);
                self.finished.notify_all();
            } else if state.closed {
                return;
            } else {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Waits until the worker has nothing to do or overstays; whether it has nothing to do. Only disposals are left.
    fn ends_in_time(&self, worker: usize, disposal_limit: Duration) -> bool {
        let patience = Instant::now() + disposal_limit;
        let mut state = self.state();
        loop {
            let until = match state.busy.get(worker).copied().flatten() {
                Some(until) => until,
                None if state.queue.is_empty() => return true,
                None => patience,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .finished
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl State {
    fn push(&mut self, due: Due, work: Work) -> u64 {
        let number = self.next_task;
        self.next_task += 1;
        self.queue.push_back(Task { number, due, work });
        number
    }

    fn set_busy(&mut self, worker: usize, until: Option<Instant>) {
        if let Some(busy) = self.busy.get_mut(worker) {
            *busy = until;
        }
    }

    fn waiting(&self) -> usize {
        let has_caller = |task: &&Task| matches!(task.due, Due::At(_));
        self.queue.iter().filter(has_caller).count()
    }

    fn stuck(&self, now: Instant) -> usize {
        let overdue = |until: &&Option<Instant>| until.is_some_and(|until| until <= now);
        self.busy.iter().filter(overdue).count()
    }
}

fn timeout(what: String) -> ModuleError {
    ModuleError::transport(what).because(Reason::Timeout)
}
