// Memory that comes and goes by the hundreds of thousands in a second.

#ifndef WAITQ_SERVER_ENGINE_RECYCLED_H_
#define WAITQ_SERVER_ENGINE_RECYCLED_H_

#include <cstddef>
#include <cstdint>
#include <new>

namespace waitq::engine {

// Base of a final class T: each thread keeps the memory of a few that have
// died for the next ones. (The allocator's own cache holds seven of a size, and
// a session's message brings and ends hundreds at a time.)
//
// Thread safety: that of new and delete.
template <class T>
class Recycled {
 public:
  static void* operator new(size_t size) {
    Kept& kept = Kept::Mine();
    if (kept.first == nullptr) return ::operator new(size);
    Link* const link = kept.first;
    kept.first = link->next;
    --kept.count;
    return link;
  }
  static void operator delete(void* memory) {
    // Few enough not to matter, should they never be used again.
    constexpr uint32_t kMost = kIsChecked ? 0 : 256;
    Kept& kept = Kept::Mine();
    if (kept.count >= kMost || kept.over) {
      return ::operator delete(memory);
    }
    static thread_local const Ending at_the_threads_end;
    (void)&at_the_threads_end;
    kept.first = new (memory) Link{kept.first};
    ++kept.count;
  }

 private:
  // AddressSanitizer is to see who uses what has died.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool kIsChecked = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
  static constexpr bool kIsChecked = true;
#else
  static constexpr bool kIsChecked = false;
#endif
#else
  static constexpr bool kIsChecked = false;
#endif

  struct Link {
    Link* next;
  };
  // Without a destructor: what dies after the thread's variables finds it
  // still.
  struct Kept {
    static Kept& Mine() {
      static thread_local constinit Kept kept;
      return kept;
    }
    Link* first = nullptr;
    uint32_t count = 0;
    bool over = false;
  };
  struct Ending {
    ~Ending() {
      Kept& kept = Kept::Mine();
      kept.over = true;
      kept.count = 0;
      while (Link* const link = kept.first) {
        kept.first = link->next;
        ::operator delete(link);
      }
    }
  };
};

}  // namespace waitq::engine

#endif  // WAITQ_SERVER_ENGINE_RECYCLED_H_
