#include "core/pipe_ends.h"

#include "core/check.h"

namespace waitq {

PipeEnds::Reader PipeEnds::OpenReader() {
  ++readers_;
  const bool unseen = !ends_.empty() && !ends_.back().seen;
  return Reader{unseen ? last_serial_ - 1 : last_serial_};
}

PipeEnds::Writer PipeEnds::OpenWriter() {
  if (!ends_.empty() && (!ends_.back().broken || ends_.back().seen)) {
    ends_.pop_back();
  }
  ++writers_;
  return Writer{departures_};
}

bool PipeEnds::CloseReader() {
  WAITQ_CHECK(readers_ > 0, "a reader closes that was not open");
  if (--readers_ > 0) return false;
  ++departures_;
  return true;
}

bool PipeEnds::CloseWriter(bool clean, uint64_t write_offset) {
  WAITQ_CHECK(writers_ > 0, "a writer closes that was not open");
  if (!clean) writer_died_ = true;
  if (--writers_ > 0) return false;
  ends_.push_back({write_offset, ++last_serial_, writer_died_, false});
  writer_died_ = false;
  return true;
}

PipeEnd PipeEnds::EndAt(uint64_t read_offset, const Reader* reader) const {
  if (ends_.empty() || ends_.front().offset != read_offset) {
    return PipeEnd::kNone;
  }
  const End& end = ends_.front();
  if (IsTerminal(end)) {
    const bool for_reader =
        reader == nullptr ? !end.seen : reader->seen < end.serial;
    if (!for_reader) return PipeEnd::kNone;
  }
  return end.broken ? PipeEnd::kBroken : PipeEnd::kClean;
}

void PipeEnds::Tell(Reader* reader) const {
  if (reader != nullptr) reader->seen = ends_.front().serial;
}

void PipeEnds::MarkSeen() {
  ends_.front().seen = true;
  // Bytes of another writer follow, or will: the next read goes on with them.
  if (!IsTerminal(ends_.front())) ends_.pop_front();
}

bool PipeEnds::IsBrokenFor(const Writer* writer) const {
  if (readers_ > 0) return false;
  return departures_ > (writer == nullptr ? 0 : writer->departures);
}

bool PipeEnds::Idle() const {
  return readers_ == 0 && writers_ == 0 && (ends_.empty() || ends_.back().seen);
}

}  // namespace waitq
