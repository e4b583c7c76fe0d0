// A pipe's state beside plain models of it, with what a fuzzer thinks up.
//
//   ./bazelw run --config=fuzz //tests/core:pipe_state_fuzz -- -runs=1000000
//
// Its test runs the same with random bytes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "absl/strings/cord.h"
#include "core/check.h"
#include "core/pipe_state.h"

namespace waitq {
namespace {

// A pipe as one would write it first.
class Model {
 public:
  virtual ~Model() = default;
  virtual size_t Room(size_t n, bool first) const = 0;
  virtual void Append(const std::string& data, bool first) = 0;
  virtual size_t Readable(size_t n) const = 0;
  virtual std::string Take(size_t n) = 0;
  virtual void Clear() = 0;
  virtual size_t unread() const = 0;
  virtual bool full() const = 0;
};

// pipe_write() and pipe_read(): pages, and what is in each. Pages of one byte
// cannot be filled up, so that they count bytes.
class PagesModel final : public Model {
 public:
  PagesModel(size_t slots, size_t page) : slots_(slots), page_(page) {}

  size_t Room(size_t n, bool first) const override {
    const size_t head = n % page_;
    size_t room = MayMerge(head, first) ? head : 0;
    for (size_t free = slots_ - pages_.size(); free > 0 && room < n; --free) {
      room += std::min(page_, n - room);
    }
    return room;
  }
  void Append(const std::string& data, bool first) override {
    size_t done = 0;
    if (MayMerge(data.size() % page_, first)) {
      done = data.size() % page_;
      pages_.back().bytes.append(data, 0, done);
    }
    for (; done < data.size(); done += page_) {
      pages_.push_back({data.substr(done, page_), 0});
    }
  }
  size_t Readable(size_t n) const override { return std::min(n, unread()); }
  std::string Take(size_t n) override {
    std::string taken;
    while (taken.size() < n && !pages_.empty()) {
      Page& page = pages_.front();
      const std::string piece = page.bytes.substr(page.read, n - taken.size());
      taken += piece;
      page.read += piece.size();
      if (page.read == page.bytes.size()) pages_.pop_front();
    }
    return taken;
  }
  void Clear() override { pages_.clear(); }
  size_t unread() const override {
    size_t sum = 0;
    for (const Page& page : pages_) sum += page.bytes.size() - page.read;
    return sum;
  }
  bool full() const override { return pages_.size() == slots_; }

 private:
  struct Page {
    std::string bytes;
    size_t read;
  };

  bool MayMerge(size_t head, bool first) const {
    return first && !pages_.empty() && head > 0 &&
           pages_.back().bytes.size() + head <= page_;
  }

  const size_t slots_;
  const size_t page_;
  std::deque<Page> pages_;
};

// scull_p_read(), scull_p_write(): a buffer and two places in it.
class RingModel final : public Model {
 public:
  explicit RingModel(size_t size) : buffer_(size, '\0') {}

  size_t Room(size_t n, bool) const override {
    const size_t to_end =
        write_ >= read_ ? buffer_.size() - write_ : read_ - write_ - 1;
    return std::min({n, to_end, buffer_.size() - 1 - unread()});
  }
  void Append(const std::string& data, bool) override {
    buffer_.replace(write_, data.size(), data);
    write_ = (write_ + data.size()) % buffer_.size();
  }
  size_t Readable(size_t n) const override {
    return std::min(n, (write_ >= read_ ? write_ : buffer_.size()) - read_);
  }
  std::string Take(size_t n) override {
    const std::string taken = buffer_.substr(read_, Readable(n));
    read_ = (read_ + taken.size()) % buffer_.size();
    return taken;
  }
  void Clear() override { read_ = write_ = 0; }
  size_t unread() const override {
    return (write_ + buffer_.size() - read_) % buffer_.size();
  }
  bool full() const override { return unread() == buffer_.size() - 1; }

 private:
  std::string buffer_;
  size_t read_ = 0;
  size_t write_ = 0;
};

// Packets, each with what it costs.
class PacketsModel final : public Model {
 public:
  explicit PacketsModel(size_t capacity) : capacity_(capacity) {}

  size_t Room(size_t n, bool) const override {
    return used() + n + PipeState::kPacketCost <= capacity_ ? n : 0;
  }
  void Append(const std::string& data, bool) override {
    packets_.push_back(data);
  }
  size_t Readable(size_t n) const override {
    if (packets_.empty() || packets_.front().size() > n) return 0;
    return packets_.front().size();
  }
  std::string Take(size_t n) override {
    if (Readable(n) == 0) return "";
    const std::string taken = packets_.front();
    packets_.pop_front();
    return taken;
  }
  void Clear() override { packets_.clear(); }
  size_t unread() const override {
    size_t sum = 0;
    for (const std::string& packet : packets_) sum += packet.size();
    return sum;
  }
  bool full() const override {
    return used() + PipeState::kPacketCost >= capacity_;
  }

 private:
  size_t used() const {
    return unread() + packets_.size() * PipeState::kPacketCost;
  }

  const size_t capacity_;
  std::deque<std::string> packets_;
};

// The fuzzer's bytes; zeros after their end.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), end_(data + size) {}

  bool empty() const { return data_ == end_; }
  uint8_t Byte() { return empty() ? 0 : *data_++; }
  // 0 to `most`, and a little more.
  size_t Size(size_t most) {
    const size_t drawn = Byte() * size_t{256} + Byte();
    return drawn % (most + most / 4 + 2);
  }

 private:
  const uint8_t* data_;
  const uint8_t* const end_;
};

void CheckSame(const PipeState& state, const Model& model) {
  WAITQ_CHECK(state.unread_bytes() == model.unread(), "unread bytes differ");
  WAITQ_CHECK(state.empty() == (model.unread() == 0), "only one is empty");
  WAITQ_CHECK(state.full() == model.full(), "only one is full");
  WAITQ_CHECK(state.write_offset() - state.read_offset() == model.unread(),
              "offsets do not count what is unread");
}

void Run(Input input) {
  PipeState::Options options;
  std::unique_ptr<Model> model;
  const uint8_t kind = input.Byte();
  const size_t slots = 1 + kind / 4 % 16;
  switch (kind % 4) {
    case 0:
      options = {.capacity_bytes = slots * 7, .slot_bytes = 1};
      model = std::make_unique<PagesModel>(slots * 7, 1);
      break;
    case 1:
      options = {.capacity_bytes = slots * 4096, .slot_bytes = 4096};
      model = std::make_unique<PagesModel>(slots, 4096);
      break;
    case 2:
      options = {.capacity_bytes = slots + 1, .slot_bytes = 1, .ring = true};
      model = std::make_unique<RingModel>(slots + 1);
      break;
    case 3:
      options = {.capacity_bytes = 64 + slots * 80,
                 .slot_bytes = 1,
                 .ring = false,
                 .packets = true};
      model = std::make_unique<PacketsModel>(options.capacity_bytes);
      break;
  }
  PipeState state(options);
  uint64_t written = 0;
  uint64_t read = 0;
  while (!input.empty()) {
    const uint8_t op = input.Byte();
    const size_t n = input.Size(options.capacity_bytes);
    if (op < 120) {
      const bool first = op % 2 == 0;
      const bool whole = op % 4 < 2 && n <= 4096;
      const size_t room = state.Room(n, whole, first);
      const size_t expected = model->Room(n, first);
      WAITQ_CHECK(room == (whole && expected < n ? 0 : expected),
                  "another room for a write");
      if (room == 0) continue;  // nobody appends nothing
      std::string data(room, '\0');
      for (char& c : data) c = static_cast<char>(written++ % 251);
      state.Append(absl::Cord(data), first);
      model->Append(data, first);
    } else if (op < 250) {
      const size_t readable = state.Readable(n);
      WAITQ_CHECK(readable == model->Readable(n), "another number to read");
      const std::string taken(state.Take(n));
      WAITQ_CHECK(taken.size() == readable, "a read is not what was promised");
      WAITQ_CHECK(taken == model->Take(n), "other bytes are read");
      read += taken.size();
      WAITQ_CHECK(state.read_offset() == read, "the offset is not the count");
    } else {
      read += state.unread_bytes();
      state.Clear();
      model->Clear();
    }
    CheckSame(state, *model);
  }
}

}  // namespace
}  // namespace waitq

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  waitq::Run(waitq::Input(data, size));
  return 0;
}
