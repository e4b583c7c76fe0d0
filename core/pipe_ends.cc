#include "core/pipe_ends.h"

#include "core/check.h"

namespace waitq {

PipeEnds::Reader PipeEnds::OpenReader() {
  ++readers_;
  const bool unseen = last_serial_ > 0 && !last_seen_;
  return Reader{unseen ? last_serial_ - 1 : last_serial_};
}

PipeEnds::Writer PipeEnds::OpenWriter() {
  ++writers_;
  return Writer{departures_};
}

bool PipeEnds::CloseReader() {
  WAITQ_CHECK(readers_ > 0, "a reader closes that was not open");
  if (--readers_ > 0 || !has_ends_) return false;
  ++departures_;
  return true;
}

bool PipeEnds::CloseWriter(bool clean, uint64_t write_offset) {
  WAITQ_CHECK(writers_ > 0, "a writer closes that was not open");
  if (!clean) writer_died_ = true;
  if (--writers_ > 0 || !has_ends_) return false;
  ++last_serial_;
  last_broken_ = writer_died_;
  last_seen_ = false;
  if (last_broken_) broken_.push_back(write_offset);
  writer_died_ = false;
  return true;
}

PipeEnd PipeEnds::EndAt(uint64_t read_offset, bool empty,
                        const Reader* reader) const {
  if (BrokenAt(read_offset)) return PipeEnd::kBroken;
  if (!empty || writers_ > 0 || last_serial_ == 0) return PipeEnd::kNone;
  const bool for_reader =
      reader == nullptr ? !last_seen_ : reader->seen < last_serial_;
  if (!for_reader) return PipeEnd::kNone;
  return last_broken_ ? PipeEnd::kBroken : PipeEnd::kClean;
}

void PipeEnds::Tell(uint64_t read_offset, Reader* reader) const {
  if (reader == nullptr) return;
  // Behind a broken end that is not the last one, the last one is to come.
  if (BrokenAt(read_offset) && !FirstBrokenIsLast()) return;
  reader->seen = last_serial_;
}

void PipeEnds::MarkSeen(uint64_t read_offset) {
  if (!BrokenAt(read_offset)) {
    last_seen_ = true;
    return;
  }
  if (FirstBrokenIsLast()) last_seen_ = true;
  broken_.pop_front();
}

bool PipeEnds::IsBrokenFor(const Writer* writer) const {
  if (readers_ > 0) return false;
  return departures_ > (writer == nullptr ? 0 : writer->departures);
}

bool PipeEnds::Idle() const {
  return readers_ == 0 && writers_ == 0 && broken_.empty() &&
         (last_serial_ == 0 || last_seen_);
}

}  // namespace waitq
