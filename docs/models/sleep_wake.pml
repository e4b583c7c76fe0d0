/* The sleep/wake protocol of threads: core/task.cc, core/wait_queue.cc,
 * core/wait_list.cc and WaitEventLoop() in core/wait_event.h.
 *
 * Checked: nobody sleeps for ever beside a condition that is true or a signal
 * that is pending; no wake-up that was counted is swallowed; nobody touches an
 * entry or a timer whose frame has ended. tools/check_models.sh runs it.
 *
 * Scenes (-DSCENE_...):
 *   FLAG   non-exclusive sleepers, one plain store, one waker
 *   ONE    exclusive sleepers, one token, one wake-up
 *   TWO    exclusive sleepers, two tokens, two wakers; a taker passes on
 * Sleeper 0 may be signalled. One has a timeout: sleeper 1 in FLAG, so that
 * nothing else ends the sleep of sleeper 0; else sleeper 0.
 *
 * Memory: each thread's stores of what others read without the lock go through
 * a first-in-first-out store buffer. It is flushed at any time; a fence, an
 * atomic read-modify-write and the waker's unlock wait until it is empty. Taking
 * the lock does not drain it: an acquire would not.
 */

#if defined(SCENE_FLAG)
#define WAKERS 1
#define EXCLUSIVE 0
#define TIMED 1
#elif defined(SCENE_ONE)
#define WAKERS 1
#define EXCLUSIVE 1
#elif defined(SCENE_TWO)
#define WAKERS 2
#define EXCLUSIVE 1
#define PASS_ON
#endif

#ifndef TIMED
#define TIMED 0
#endif

#ifndef SLEEPERS
#define SLEEPERS 2
#endif

/* Task::state_. kParked stands beside the state. */
#define RUN 0
#define INT 1
#define PARKED 2
#define INT_PARKED 3

byte state[SLEEPERS];
bool pending[SLEEPERS];      /* Task::pending_ */
bool in_futex[SLEEPERS];     /* the thread is inside FutexWait() */

bool mu;                     /* WaitQueue::mu_ */
byte line[SLEEPERS];         /* WaitQueue::list_, in walk order */
byte length;
bool linked[SLEEPERS];       /* WaitEntry::next is not the entry itself */
bool frame[SLEEPERS];        /* the frame that the entry is in lives */

bool armed[SLEEPERS];        /* SleepTimer, in the wheel */
bool firing[SLEEPERS];       /* Timers::running_ */
bool fired[SLEEPERS];
bool timer_frame[SLEEPERS];  /* the frame that the timer is in lives */

byte condition;              /* the flag, or the number of tokens */
byte taken;
bool finished[SLEEPERS];

hidden byte j;

/* Store buffers: of each sleeper, of the waker's condition, of the sender's
 * pending bit. */
mtype = { kEnqueue, kState, kUnlock, kCondition, kPending };
chan own_stores[SLEEPERS] = [4] of { mtype, byte };
chan waker_stores = [1] of { mtype, byte };
chan sender_stores = [1] of { mtype, byte };
chan no_stores = [1] of { mtype, byte };

/* --- core/wait_list.cc ---------------------------------------------------- */

/* AddTail(), AddHead(). In one step: it is under the lock, and who reads
 * without it only asks whether the list is empty. */
inline Enqueue(who) {
#if EXCLUSIVE
  line[length] = who;
#else
  j = length;
  do
  :: j > 0 -> line[j] = line[j - 1]; j--
  :: else -> break
  od;
  line[0] = who;
#endif
  length++
}

/* The stores to the neighbours, in Remove(). */
inline TakeOut(who) {
  d_step {
    j = 0;
    do
    :: line[j] == who -> break
    :: else -> j++
    od;
    length--;
    do
    :: j < length -> line[j] = line[j + 1]; j++
    :: else -> break
    od;
    line[length] = 0;
    j = 0
  }
}

/* Remove(): last of all the entry's own link, by a release store. After that
 * the entry may be gone. */
inline Remove(who) {
#ifdef LINK_BEFORE_NEIGHBOURS
  atomic { assert(frame[who]); linked[who] = false };
  atomic { assert(frame[who]); TakeOut(who) };
#else
  atomic { assert(frame[who]); TakeOut(who) };
  atomic { assert(frame[who]); linked[who] = false };
#endif
}

/* --- core/task.cc --------------------------------------------------------- */

/* SetState(): a store and a full barrier. */
inline SetState(value) {
  atomic {
    !(own_stores[i]??[kState, RUN]) && !(own_stores[i]??[kState, INT]) ->
    own_stores[i]!kState, value
  };
#ifndef NO_FENCE_SLEEPER
  empty(own_stores[i]);
#endif
}

/* TryToWake(): the load and the exchange in one step, as the loop around them
 * amounts to. An exchange that succeeds has let out the waker's own stores:
 * `stores`. Then the call to the kernel, if the thread sleeps there. */
inline TryToWake(who, stores, result, seen) {
#ifdef NO_CAS
  seen = state[who];
  atomic {
    empty(stores) ->
    result = (seen != RUN);
    if
    :: result -> state[who] = RUN
    :: else
    fi
  };
#else
  atomic {
    if
    :: state[who] == RUN -> seen = RUN; result = false
    :: state[who] != RUN && empty(stores) ->
      seen = state[who];
      state[who] = RUN;
      result = true
    fi
  };
#endif
  if
  :: seen == INT_PARKED -> in_futex[who] = false
  :: else
  fi
}

/* Schedule(), and Park() at its end. The frame of ScheduleUntil() around it. */
inline Schedule() {
  if
  :: timed -> atomic { timer_frame[i] = true; armed[i] = true }
  :: else
  fi;
  /* Its own store is seen by the thread before it is seen by others. */
  atomic { seen = (own_stores[i]??[kState, INT] -> INT : state[i]) };
  if
#ifndef NO_SIGNAL_TEST_IN_SCHEDULE
  :: seen != RUN && pending[i] -> SetState(RUN)
#endif
  :: else -> Park()
  fi;
  if
  :: timed ->
    /* CancelSync(): not armed, and not firing. */
    armed[i] = false;
#ifndef NO_CANCEL_SYNC
    !firing[i];
#endif
    /* The time may also have run out in a sleep that something else ended. */
    atomic {
      timer_frame[i] = false;
      if
      :: expired = true
      :: !fired[i]
      fi
    }
  :: else
  fi;
  seen = RUN
}

inline Park() {
  /* Both the exchange and the kernel's comparison are at the memory itself: they
   * drain the buffer. */
  empty(own_stores[i]);
  seen = state[i];
  do
  :: seen == RUN -> break
  :: seen == INT ->
#ifdef PARK_BY_STORE
    state[i] = INT_PARKED;
    seen = INT_PARKED
#else
    atomic {
      if
      :: state[i] == INT -> state[i] = INT_PARKED; seen = INT_PARKED
      :: else -> seen = state[i]
      fi
    }
#endif
  :: seen == INT_PARKED ->
    /* FutexWait(): sleeps if the word is still what it was. */
    atomic {
      if
      :: state[i] == INT_PARKED -> in_futex[i] = true
      :: else
      fi
    };
end_asleep:
    !in_futex[i];
    seen = state[i]
  od
}

/* --- core/wait_queue.cc --------------------------------------------------- */

inline Lock() {
  atomic { !mu -> mu = true }
}

/* The sleeper's unlock is a release store: behind its other stores. */
inline OwnUnlock() {
  atomic {
    if
    :: empty(own_stores[i]) -> mu = false
    :: nempty(own_stores[i]) -> own_stores[i]!kUnlock, 0
    fi
  }
}

/* PrepareToWaitEvent(). */
inline PrepareToWaitEvent() {
  Lock();
  interrupted = pending[i];
  if
#if defined(LEAVE_QUEUED_ON_SIGNAL)
  :: interrupted -> skip
#elif !defined(NO_UNLINK_ON_SIGNAL)
  :: interrupted ->
    if
    :: linked[i] -> Remove(i)
    :: else
    fi
#endif
  :: else ->
    if
    :: !linked[i] ->
      atomic { linked[i] = true; own_stores[i]!kEnqueue, i }
    :: else
    fi;
    SetState(INT)
  fi;
  OwnUnlock()
}

/* FinishWait(). */
inline FinishWait() {
  SetState(RUN);
  if
#ifdef FINISH_TRUSTS_STATE
  :: chosen -> skip
#endif
  /* UnlinkedCarefully(): whoever unlinked it has left it for good. */
  :: !linked[i]
  :: else ->
    Lock();
    if
    :: linked[i] -> Remove(i)
    :: else
    fi;
    OwnUnlock()
  fi
}

/* WakeUp(), the walk, and AutoremoveWakeFunction(). */
inline WakeUp(stores) {
  Lock();
  k = 0;
  do
  :: k < length ->
    entry = line[k];
    assert(frame[entry]);
#ifdef UNLINK_BEFORE_WAKE
    if
    :: state[entry] != RUN ->
      Remove(entry);
      assert(frame[entry]);
      TryToWake(entry, stores, woken, seen)
    :: else -> woken = false; k++
    fi;
#else
    TryToWake(entry, stores, woken, seen);
    if
    :: woken -> Remove(entry)
    :: else -> k++
    fi;
#endif
    if
    :: EXCLUSIVE && woken -> break
    :: else
    fi
  :: else -> break
  od;
  atomic { empty(stores) -> k = 0; entry = 0; woken = false; seen = 0; mu = false }
}

/* --- Who takes part ------------------------------------------------------- */

/* done() in WaitEventLoop(): the condition, or no time left. The condition of
 * an exclusive sleeper takes the token that it finds. */
inline Test() {
  atomic {
    if
    :: condition > 0 ->
#if EXCLUSIVE
      condition--;
      taken++;
#endif
      is_done = true
    :: else -> is_done = expired
    fi
  }
}

/* WaitEventInterruptible(), WaitEventTimeout(), exclusive or not. */
proctype Sleeper(byte i; bool timed) {
  bool interrupted, expired, is_done, woken;
  byte seen, k, entry;
#ifdef FINISH_TRUSTS_STATE
  bool chosen;
#endif

  Test();
  if
  :: is_done -> goto out
  :: else
  fi;
  frame[i] = true;
  do
  :: PrepareToWaitEvent();
    Test();
    if
    :: is_done -> break
    :: else
    fi;
    if
#ifdef NO_UNLINK_ON_SIGNAL
    :: interrupted -> break
#else
    :: interrupted -> goto left
#endif
    :: else
    fi;
    Schedule();
#ifdef FINISH_TRUSTS_STATE
    chosen = !fired[i] && !pending[i];
#endif
    /* Step (e). While running, so that no waker can choose this entry. */
#ifndef NO_TEST_WHILE_RUNNING
    Test();
    if
    :: is_done -> break
    :: else
    fi
#endif
  od;
  FinishWait();
left:
  atomic {
    assert(!linked[i]);
    frame[i] = false
  };
#if defined(PASS_ON) && !defined(NO_PASS_ON)
  /* As Fifo::Read(): a sleeper whose condition became true before it slept may
   * have been chosen by the next wake-up too. What is left is for the next. */
  if
  :: condition > 0 -> WakeUp(no_stores)
  :: else
  fi;
#endif
out:
  finished[i] = true
}

proctype Waker() {
  bool woken;
  byte seen, k, entry;
#if EXCLUSIVE
  condition++;
#else
  /* Or never comes: then only the signal ends the sleep of sleeper 0. */
  if
  :: waker_stores!kCondition, 1
  :: goto out
  fi;
#endif
#if defined(DIRECT_WAKE)
  /* wake_up_process(): to the task, past the queue. TryToWake() begins with a
   * load, so the barrier is the caller's. */
#ifndef NO_FENCE_WAKER
  empty(waker_stores);
#endif
  TryToWake(0, waker_stores, woken, seen);
  TryToWake(1, waker_stores, woken, seen);
  goto out;
#elif defined(SCENE_FLAG) && !defined(PLAIN_WAKE_UP)
  /* HasSleeper(): a full barrier, then the look at the list. */
#ifndef NO_FENCE_WAKER
  empty(waker_stores);
#endif
  if
  :: length == 0 -> goto out
  :: else
  fi;
#endif
  WakeUp(waker_stores);
out:
  skip
}

/* SendSignal(): pending first, then the state is read. */
proctype Sender(byte who) {
  bool woken;
  byte seen;
  /* Or never comes: then only the waker ends the sleep. */
  if
  :: sender_stores!kPending, who
  :: goto out
  fi;
#ifndef NO_FENCE_SENDER
  empty(sender_stores);
#endif
  TryToWake(who, sender_stores, woken, seen);
out:
  skip
}

/* Timers::RunExpired(), and SleepTimer::WakeUp(). */
proctype TimerThread(byte who) {
  bool woken;
  byte seen;
end_idle:
  do
  :: atomic { armed[who] -> armed[who] = false; fired[who] = true; firing[who] = true };
    assert(timer_frame[who]);
    TryToWake(who, no_stores, woken, seen);
    firing[who] = false
  od
}

/* Lets a store out of its buffer, at any time, in order. */
inline Flush(who) {
  atomic {
    own_stores[who]?what, value ->
    if
    :: what == kEnqueue -> Enqueue(who)
    :: what == kState -> state[who] = value
    :: what == kUnlock -> mu = false
    fi;
    what = 0;
    value = 0
  }
}

proctype Memory() {
  mtype what;
  byte value;
end_idle:
  do
  :: Flush(0)
  :: Flush(1)
#if SLEEPERS > 2
  :: Flush(2)
#endif
#ifdef SCENE_FLAG
  :: atomic { waker_stores?what, value -> condition = value; what = 0; value = 0 }
#endif
  :: atomic { sender_stores?what, value -> pending[value] = true; what = 0; value = 0 }
  od
}

/* When nothing can move any more. */
proctype Judge() {
  bool lost_wake_up, lost_signal, lost_token;
  byte i;
  timeout;
  atomic {
    do
    :: i < SLEEPERS ->
      if
      :: !finished[i] && condition > 0 -> lost_wake_up = true
      :: else
      fi;
      if
      :: !finished[i] && pending[i] -> lost_signal = true
      :: else
      fi;
      i++
    :: else -> break
    od;
#if EXCLUSIVE
    lost_token = (condition + taken != WAKERS);
#endif
    assert(!lost_wake_up);
    assert(!lost_signal);
    assert(!lost_token)
  }
}

init {
  atomic {
    run Memory();
#ifndef NO_TIMER
    run TimerThread(TIMED);
    run Sleeper(0, TIMED == 0);
    run Sleeper(1, TIMED == 1);
#else
    run Sleeper(0, false);
    run Sleeper(1, false);
#endif
#if SLEEPERS > 2
    run Sleeper(2, false);
#endif
    run Waker();
#if WAKERS > 1
    run Waker();
#endif
#ifndef NO_SIGNAL
    run Sender(0);
#endif
    run Judge()
  }
}
