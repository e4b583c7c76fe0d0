// What a named pipe promises of its ends, as docs/semantics.md has it.

#ifndef WAITQ_TESTS_SERVER_PIPE_PROMISE_H_
#define WAITQ_TESTS_SERVER_PIPE_PROMISE_H_

#include <algorithm>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

namespace waitq::test {

class PipePromise {
 public:
  // What a handle is owed depends on what was before it. Who has none is owed
  // what nobody else was.
  struct Handle {
    size_t before = 0;
  };

  // An end that nobody has seen is kept for the first reader that comes.
  Handle OpenReader() {
    ++readers_;
    return {ends_ > 0 && !last_seen_ ? ends_ - 1 : ends_};
  }
  Handle OpenWriter() {
    ++writers_;
    return {departures_};
  }
  // True: the last one has left.
  bool CloseReader() {
    if (--readers_ > 0) return false;
    ++departures_;
    return true;
  }
  // True: the file ends here, where `written` units have been.
  bool CloseWriter(bool clean, size_t written) {
    if (!clean) writer_died_ = true;
    if (--writers_ > 0) return false;
    ++ends_;
    last_broken_ = std::exchange(writer_died_, false);
    last_seen_ = false;
    if (last_broken_) broken_.push_back(written);
    return true;
  }

  // The end that is seen where `read` units have been: whether it is broken.
  std::optional<bool> EndAt(size_t read, bool empty,
                            const Handle* reader) const {
    if (!broken_.empty() && broken_.front() == read) return true;
    if (!empty || writers_ > 0 || ends_ == 0) return std::nullopt;
    const bool owed = reader != nullptr ? reader->before < ends_ : !last_seen_;
    if (!owed) return std::nullopt;
    return last_broken_;
  }
  void MarkSeen(size_t read) {
    if (broken_.empty() || broken_.front() != read) {
      last_seen_ = true;
      return;
    }
    if (broken_.size() == 1 && last_broken_) last_seen_ = true;
    broken_.pop_front();
  }
  // How many of `units` may be read at once: up to a broken end.
  size_t Limit(size_t read, size_t units) const {
    return broken_.empty() ? units : std::min(units, broken_.front() - read);
  }
  // EPIPE.
  bool NobodyReads(const Handle* writer) const {
    return readers_ == 0 &&
           departures_ > (writer != nullptr ? writer->before : 0);
  }

  bool HasWriters() const { return writers_ > 0; }
  // The ends of a poll.
  bool Hup() const { return writers_ == 0 && ends_ > 0; }
  bool Err() const { return NobodyReads(nullptr); }

 private:
  int readers_ = 0;
  int writers_ = 0;
  size_t departures_ = 0;     // times that the last reader has left
  size_t ends_ = 0;           // times that the last writer has
  bool writer_died_ = false;  // since the last end
  bool last_broken_ = false;
  bool last_seen_ = false;
  std::deque<size_t> broken_;  // where ends stand that nobody has seen
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SERVER_PIPE_PROMISE_H_
