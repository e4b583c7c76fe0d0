/* The engine's hand-off on one wait queue: server/engine/object.cc,
 * operation.cc and wait_queue_object.cc.
 *
 * Checked: every operation ends once and is told once, outside the lock; one
 * that does not end as done has taken nothing, nor has one whose caller had
 * gone; a timeout, signal or drain ends no operation whose condition holds; what
 * was posted is what was taken and what is left; nobody is left asleep beside a
 * condition that holds; no operation is used after its last reference, none is
 * kept. tools/check_models.sh runs it.
 *
 * Operations, by number:
 *   0   word >= 1, then add -1; exclusive; its caller may go
 *   1   word >= 2, then add -2; exclusive; has a timeout, may be signalled
 *   2   word >= 1; not exclusive, so first in line
 *
 * Scenes (-DSCENE_...), besides the operations, their home and the timers:
 *   EVENTS  two wakers; the caller of operation 1 may go, too, or leave it
 *   REMOVE  a waker, and the object's removal
 *   DRAIN   a waker, a Store(), and the drain
 */

#define OPERATIONS 3

#if defined(SCENE_EVENTS)
#define WITH_SECOND_WAKER
#elif defined(SCENE_REMOVE)
#define WITH_REMOVE
#elif defined(SCENE_DRAIN)
#define WITH_DRAIN
#define WITH_STORE
#endif

#define NEED(op) (op == 1 -> 2 : 1)
#define TAKE(op) (op == 2 -> 0 : op + 1)
#define EXCLUSIVE(op) (op != 2)
#define TIMED(op) (op == 1)

mtype = { kAsleep, kDone, kTimedOut, kInterrupted, kCallerGone, kRemoved, kDraining };

byte mu;                       /* Object::mu_: who holds it, or 0 */
bool removed;
bool draining;                 /* Shared::draining */
byte word;
byte line[OPERATIONS], length; /* line_, in walk order */

bool running[OPERATIONS] = true;    /* task_: running, or asleep */
mtype ending[OPERATIONS] = kAsleep;
bool starting[OPERATIONS];
bool attached[OPERATIONS];     /* caller_, and its reference */
byte refs[OPERATIONS];
bool armed[OPERATIONS];        /* in the timing wheel */

chan mail = [4] of { byte };   /* the home's queue */

/* What the properties are about. */
byte posted, taken;
byte ended[OPERATIONS];
byte told[OPERATIONS];         /* by Start()'s result, or by Deliver() */
bool gone_for_good[OPERATIONS];
bool started[OPERATIONS];

hidden byte j;

/* --- References: ref.h ---------------------------------------------------- */

#define USE(op) assert(refs[op] > 0)

inline InLine(op, is_in) {
  j = 0;
  do
  :: j < length && line[j] != op -> j++
  :: else -> break
  od;
  is_in = (j < length)
}

/* ~WaitEntry() checks that it is not in line; ~Timer(), that it is not armed. */
inline DropRef(op) {
  d_step {
    USE(op);
    refs[op]--;
    InLine(op, in_line);
    assert(refs[op] > 0 || (!in_line && !armed[op]));
    in_line = false
  }
}

/* --- The line: core/wait_list.cc ------------------------------------------ */

inline Add(op) {
  d_step {
    if
    :: EXCLUSIVE(op) -> line[length] = op
    :: else ->
      j = length;
      do
      :: j > 0 -> line[j] = line[j - 1]; j--
      :: else -> break
      od;
      line[0] = op
    fi;
    length++
  }
}

inline Remove(op) {
  d_step {
    InLine(op, in_line);
    if
    :: in_line ->
      length--;
      do
      :: j < length -> line[j] = line[j + 1]; j++
      :: else -> break
      od;
      line[length] = 0
    :: else
    fi;
    in_line = false
  }
}

/* --- object.cc ------------------------------------------------------------ */

/* What only the lock's holder touches is done in one step. Steps of their own
 * are what others do or see without it: the lock, the wheel, references, mail. */

inline Lock() {
  atomic { mu == 0 -> mu = _pid }
}

inline Unlock() {
  mu = 0
}

/* FinishLocked(), first half. */
inline Claim(op, reason) {
  USE(op);
#ifndef NO_CLAIM
  /* TryToWake(): "an operation ends twice". */
  assert(!running[op]);
#endif
  running[op] = true;
  ended[op]++;
  assert(ended[op] <= 1);
  /* Condition beats timeout, signal and drain. */
  assert((reason != kTimedOut && reason != kInterrupted && reason != kDraining) ||
         word < NEED(op));
#ifndef NO_UNLINK
  Remove(op);
#endif
  ending[op] = reason
}

/* FinishLocked(), second half: unless Start() returns the result. */
inline CancelAndPush(op) {
  if
  :: starting[op]
  :: else ->
    /* Cancel(): if true it will not fire, and its reference is ours. */
    if
    :: armed[op] ->
      armed[op] = false;
#ifndef NO_DROP_ON_CANCEL
      DropRef(op)
#endif
    :: else
    fi;
    done!op
  fi
}

inline FinishLocked(op, reason) {
  atomic { Claim(op, reason) };
  atomic { CancelAndPush(op) }
}

/* Action::Apply(). */
inline Act(op) {
  assert(word >= TAKE(op));
  word = word - TAKE(op);
  taken = taken + TAKE(op)
}

/* WaitQueueObject::TryLocked(), TestLocked(): tests, acts and ends. `acts` is
 * for a mutation, in which a walk does not act before all have been tested. */
inline TryLocked(op, is_held, acts) {
  atomic {
    USE(op);
    is_held = (word >= NEED(op));
    if
    :: is_held ->
#ifdef ACT_AFTER_WALK
      if
      :: acts -> Act(op)
      :: else -> to_act[op] = true
      fi;
#else
      Act(op);
#endif
      Claim(op, kDone)
    :: else
    fi
  };
  atomic {
    if
    :: is_held -> CancelAndPush(op)
    :: else
    fi
  }
}

/* OnEventLocked(). */
inline OnEventLocked(op, event) {
  atomic {
    held = false;
    how = (removed -> kRemoved : event);
    if
    :: how == kCallerGone && ending[op] == kAsleep -> gone_for_good[op] = true
    :: else
    fi
  };
  if
#ifdef TEST_ON_CALLER_GONE
  :: how == kCallerGone -> TryLocked(op, held, true)
#endif
#ifndef NO_TEST_ON_EVENT
  :: how == kTimedOut || how == kInterrupted || how == kDraining ->
    TryLocked(op, held, true)
#endif
  :: else
  fi;
  if
  :: atomic { ending[op] == kAsleep -> Claim(op, how) };
    atomic { CancelAndPush(op) }
  :: else
  fi;
  atomic { held = false; how = 0 }
}

/* OnEvent(). */
inline OnEvent(op, event) {
  USE(op);
#ifdef LOOK_BEFORE_LOCK
  held = (ending[op] == kAsleep);
  Lock();
#else
  Lock();
  held = (ending[op] == kAsleep);
#endif
  if
#ifndef NO_CLAIM
  :: !held -> Unlock()
#endif
  :: else ->
    OnEventLocked(op, event);
    UnlockAndDeliver()
  fi
}

/* EndAll(). */
inline EndAll(event) {
  Lock();
  do
  :: length > 0 -> first = line[0]; OnEventLocked(first, event)
  :: else -> break
  od;
  first = 0;
  UnlockAndDeliver()
}

/* The end of every locked section: first the lock is released, then what has
 * ended is on its way home. */
inline UnlockAndDeliver() {
#ifndef DELIVER_UNDER_LOCK
  Unlock();
#endif
  do
  :: atomic {
      done?first ->
      assert(mu != _pid);
      mail!first;
      first = 0
    }
  :: empty(done) -> break
  od;
#ifdef DELIVER_UNDER_LOCK
  Unlock()
#endif
}

/* --- wait_queue_object.cc ------------------------------------------------- */

/* WakeUp(), WaitList::Walk() and WaitOperation::OnWake(). */
inline WakeUp(sum, nr) {
  Lock();
  if
  :: removed -> Unlock()
  :: else ->
    atomic {
      word = word + sum;
      posted = posted + sum;
      left = nr
    };
    do
    :: atomic { k < length && left > 0 -> first = line[k] };
      /* WakesIn(). Whoever has ended is out of line, so it always does. */
      assert(!running[first]);
      TryLocked(first, held, false);
      atomic {
        if
#ifdef FALSE_USES_NR
        :: EXCLUSIVE(first) -> left--
#else
        :: held && EXCLUSIVE(first) -> left--
#endif
        :: else
        fi;
        k = (held -> k : k + 1);
        held = false
      }
    :: else -> break
    od;
#ifdef ACT_AFTER_WALK
    ActOnAll();
#endif
    atomic { first = 0; k = 0; left = 0 };
    UnlockAndDeliver()
  fi
}

#ifdef ACT_AFTER_WALK
bool to_act[OPERATIONS];

inline ActOnAll() {
  atomic {
    k = 0;
    do
    :: k < OPERATIONS ->
      if
      :: to_act[k] -> to_act[k] = false; Act(k)
      :: else
      fi;
      k++
    :: else -> break
    od
  }
}
#endif

/* --- Who takes part ------------------------------------------------------- */

#define LOCALS                                 \
  chan done = [OPERATIONS + 1] of { byte };    \
  mtype how;                                   \
  byte first, k, left;                         \
  bool held, in_line

/* Object::Start(), called by UnaryCall. The caller keeps a reference; the other
 * becomes the line's. */
proctype Start(byte op) {
  LOCALS;
  atomic { refs[op] = 2; attached[op] = true };
#ifdef TEST_BEFORE_LOCK
  held = (word >= NEED(op));
#endif
  Lock();
  if
  :: removed ->
    Unlock();
    atomic { refs[op] = 0; attached[op] = false };
    goto out
  :: else
  fi;
  atomic { starting[op] = true; running[op] = false; Add(op) };
#ifdef TEST_BEFORE_LOCK
  if
  :: held && word >= NEED(op) -> TryLocked(op, held, true)
  :: else
  fi;
#else
  TryLocked(op, held, true);
#endif
  if
  :: ending[op] == kAsleep && draining -> FinishLocked(op, kDraining)
  :: else
  fi;
  atomic { held = false; starting[op] = false };
  if
  :: ending[op] == kAsleep ->
    /* GoToSleepLocked(). */
    atomic {
      if
      :: TIMED(op) ->
#ifndef NO_TIMER_REF
        refs[op]++;
#endif
        armed[op] = true
      :: else
      fi
    };
    atomic { Unlock(); started[op] = true }
  :: else ->
    atomic {
      Unlock();
      told[op]++;
      attached[op] = false;
      DropRef(op);
      DropRef(op)
    }
  fi;
out:
  skip
}

/* The home's thread: Operation::Deliver(), and UnaryCall's OnEnded() and
 * OnDone(). */
proctype HomeThread() {
  LOCALS;
  byte op;
  bool may_go[OPERATIONS] = true;
end_idle:
  do
  :: atomic {
      mail?op ->
      USE(op);
      if
      :: attached[op] -> attached[op] = false; told[op]++; DropRef(op)
      :: else
      fi;
      DropRef(op);
      op = 0
    }
#ifdef SCENE_EVENTS
  /* Runs on without its caller: Detach(). */
  :: atomic { may_go[1] && started[1] && attached[1] -> may_go[1] = false; op = 1 };
    if
    :: atomic { attached[op] = false; told[op]++; DropRef(op) }
    :: OnEvent(op, kCallerGone)
    :: skip
    fi;
    op = 0
#endif
  :: atomic { may_go[0] && started[0] && attached[0] -> may_go[0] = false };
    if
    :: OnEvent(0, kCallerGone)
    :: skip
    fi
  od
}

/* Timers::RunExpired(), Operation::OnTimer(). */
proctype TimerThread() {
  LOCALS;
end_idle:
  do
  :: atomic { armed[1] -> armed[1] = false };
    OnEvent(1, kTimedOut);
#ifndef NO_TIMER_REF
    DropRef(1)
#endif
  od
}

/* WaitQueueObject::WakeUp(). */
proctype Waker(byte amount) {
  LOCALS;
  WakeUp(amount, amount)
}

/* Engine::Signal(), by somebody who has a reference. */
proctype Sender() {
  LOCALS;
  if
  :: atomic { started[1] && refs[1] > 0 -> refs[1]++ };
    OnEvent(1, kInterrupted);
    DropRef(1)
  :: skip
  fi
}

#ifdef WITH_REMOVE
/* ObjectTable::Remove(), MarkRemoved(), then EndAll(). */
proctype Remover() {
  LOCALS;
  /* Or never comes: then only the waker ends the sleep of operation 2. */
  if
  :: Lock()
  :: goto out
  fi;
  removed = true;
  Unlock();
  EndAll(kRemoved);
out:
  skip
}
#endif

#ifdef WITH_DRAIN
/* Engine::Drain(). */
proctype Drainer() {
  LOCALS;
  draining = true;
  EndAll(kDraining)
}
#endif

#ifdef WITH_STORE
/* WaitQueueObject::Store(): changes the word, wakes nobody. */
proctype Storer() {
  Lock();
  atomic { word++; posted++ };
  Unlock()
}
#endif

/* When nothing can move any more. */
proctype Judge() {
  bool lost_wake_up, not_once, given_to_gone, lost_token, kept;
  byte i, sum;
  timeout;
  atomic {
    do
    :: i < OPERATIONS ->
      if
      :: length > 0 && started[i] && ending[i] == kAsleep && word >= NEED(i) ->
        lost_wake_up = true
      :: else
      fi;
      if
      :: ending[i] != kAsleep && (ended[i] != 1 || told[i] != 1) ->
        not_once = true
      :: ending[i] == kAsleep && ended[i] != 0 -> not_once = true
      :: else
      fi;
      if
      :: ending[i] == kDone && gone_for_good[i] -> given_to_gone = true
      :: else
      fi;
      if
      :: ending[i] == kDone -> sum = sum + TAKE(i)
      :: else
      fi;
      if
      :: ending[i] != kAsleep && refs[i] != 0 -> kept = true
      :: else
      fi;
      i++
    :: else -> break
    od;
    lost_token = (taken != sum || word + taken != posted);
    assert(!lost_wake_up);
    assert(!not_once);
    assert(!given_to_gone);
    assert(!lost_token);
    assert(!kept)
  }
}

init {
  atomic {
    run HomeThread();
    run TimerThread();
    run Start(0);
    run Start(1);
    run Start(2);
    run Waker(1);
#ifdef WITH_SECOND_WAKER
    run Waker(2);
#endif
    run Sender();
#ifdef WITH_REMOVE
    run Remover();
#endif
#ifdef WITH_DRAIN
    run Drainer();
#endif
#ifdef WITH_STORE
    run Storer();
#endif
    run Judge()
  }
}
