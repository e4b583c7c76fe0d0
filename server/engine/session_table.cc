#include "server/engine/session_table.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "server/engine/engine.h"
#include "server/engine/error.h"

namespace waitq::engine {
namespace {

// How often it is looked whether the process stood still; and how much later
// than that a look may be before it has.
constexpr absl::Duration kLookEvery = absl::Milliseconds(250);
constexpr absl::Duration kSlack = absl::Milliseconds(100);

// How many programs are remembered whose session is over.
constexpr size_t kOverMax = 1024;

std::string RandomToken() {
  std::string token(16, '\0');
  WAITQ_CHECK(getrandom(token.data(), token.size(), 0) ==
                  static_cast<ssize_t>(token.size()),
              "the system gives random bytes");
  return token;
}

}  // namespace

SessionTable::SessionTable(Engine* engine)
    : Timer(&OnTimer), engine_(*engine), due_(engine->Now()) {}

SessionTable::~SessionTable() { engine_.timers().CancelSync(*this); }

absl::StatusOr<Ref<Session>> SessionTable::Make(const std::string& peer,
                                                const std::string& caller,
                                                absl::Duration grace,
                                                const Origin& origin) {
  {
    MutexLock lock(&mu_);
    auto found = AskedForLocked(origin);
    if (!found.ok() || *found) return found;
    if (sessions_.size() >= engine_.limits().sessions) {
      return MakeError(ENOSPC, "the limit sessions is reached",
                       {{"limit", "sessions"}});
    }
  }
  auto session = MakeRef<Session>(
      &engine_, this, RandomToken(),
      CallerInfo::OfSession(peer, caller, engine_.limits()), grace);
  absl::StatusOr<Ref<Session>> found;
  {
    MutexLock lock(&mu_);
    // The race of two streams of one program.
    found = AskedForLocked(origin);
    if (found.ok() && !*found) {
      sessions_.emplace(session->token(), Entry{session, ++made_, origin});
      if (origin.program != 0) programs_[origin.program] = session->token();
    }
  }
  if (!found.ok() || *found) {
    session->Run([session] { session->End(absl::OkStatus()); });
    return found;
  }
  // After that, for the race with a tick that sees nobody to look for.
  MutexLock lock(&stall_mu_);
  if (!std::exchange(ticking_, true)) {
    due_ = engine_.Now() + kLookEvery;
    engine_.timers().Arm(*this, due_);
  }
  return session;
}

const SessionTable::Entry* SessionTable::FindLocked(
    const Origin& origin) const {
  if (origin.program == 0) return nullptr;
  const auto program = programs_.find(origin.program);
  if (program == programs_.end()) return nullptr;
  return &sessions_.at(program->second);
}

absl::StatusOr<Ref<Session>> SessionTable::AskedForLocked(
    const Origin& origin) const {
  const Entry* const entry = FindLocked(origin);
  if (entry != nullptr && origin.again) return entry->session;
  // A hello that was long on its way: what it brings was sent again, or its
  // program has closed.
  uint64_t latest = entry == nullptr ? 0 : entry->origin.attempt;
  if (const auto over = over_.find(origin.program); over != over_.end()) {
    latest = std::max(latest, over->second);
  }
  if (origin.attempt < latest) {
    return MakeError(ESTALE, "a later stream of that program has a session");
  }
  return nullptr;
}

absl::StatusOr<Ref<Session>> SessionTable::Find(const std::string& token,
                                                uint64_t server_epoch) {
  if (server_epoch != engine_.epoch()) {
    return MakeError(EOWNERDEAD,
                     "the server has been restarted, and knows nothing of the "
                     "session");
  }
  MutexLock lock(&mu_);
  const auto it = sessions_.find(token);
  if (it != sessions_.end()) return it->second.session;
  return MakeError(ESTALE, "there is no such session (any more)");
}

void SessionTable::Forget(const Session& session) {
  Ref<Session> dropped;  // not under the lock
  MutexLock lock(&mu_);
  const auto it = sessions_.find(session.token());
  if (it == sessions_.end()) return;
  const auto program = programs_.find(it->second.origin.program);
  if (program != programs_.end() && program->second == it->first) {
    programs_.erase(program);
  }
  if (it->second.origin.again) NoteOverLocked(it->second.origin);
  dropped = std::move(it->second.session);
  sessions_.erase(it);
}

void SessionTable::NoteOverLocked(const Origin& origin) {
  if (origin.program == 0) return;
  if (over_.insert_or_assign(origin.program, origin.attempt).second) {
    over_order_.push_back(origin.program);
  }
  if (over_order_.size() <= kOverMax) return;
  over_.erase(over_order_.front());
  over_order_.pop_front();
}

void SessionTable::EndAll(const absl::Status& status) {
  std::vector<Entry> sessions;
  {
    MutexLock lock(&mu_);
    for (const auto& [token, entry] : sessions_) sessions.push_back(entry);
  }
  // In the order in which they were made, which the map does not keep.
  std::sort(sessions.begin(), sessions.end(),
            [](const Entry& a, const Entry& b) { return a.number < b.number; });
  for (const Entry& entry : sessions) {
    entry.session->Run(
        [session = entry.session, status] { session->End(status); });
  }
}

size_t SessionTable::unsent() const {
  std::vector<Ref<Session>> sessions;  // no lock is taken under this one
  {
    MutexLock lock(&mu_);
    for (const auto& [token, entry] : sessions_) {
      sessions.push_back(entry.session);
    }
  }
  size_t unsent = 0;
  for (const Ref<Session>& session : sessions) {
    if (session->HasUnsent()) ++unsent;
  }
  return unsent;
}

void SessionTable::OnTimer(Timer& timer) {
  auto& table = static_cast<SessionTable&>(timer);
  table.NoteStall();
  MutexLock lock(&table.stall_mu_);
  // Nobody to look for: the next session makes it tick again.
  if (table.size() == 0) {
    table.ticking_ = false;
    return;
  }
  table.due_ = table.engine_.Now() + kLookEvery;
  table.engine_.timers().Arm(table, table.due_);
}

void SessionTable::NoteStall() {
  MutexLock lock(&stall_mu_);
  const absl::Time now = engine_.Now();
  if (!ticking_ || now <= due_ + kSlack) return;
  stalled_ += now - due_;
  due_ = now;  // the look itself comes still
}

}  // namespace waitq::engine
