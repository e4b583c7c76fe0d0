// The events of poll(2), with Linux's values.

#ifndef WAITQ_CORE_POLL_EVENTS_H_
#define WAITQ_CORE_POLL_EVENTS_H_

#include <cstdint>

namespace waitq {

using PollEvents = uint32_t;
inline constexpr PollEvents kPollIn = 0x0001;
inline constexpr PollEvents kPollOut = 0x0004;
inline constexpr PollEvents kPollErr = 0x0008;   // always asked for
inline constexpr PollEvents kPollHup = 0x0010;   // always asked for
inline constexpr PollEvents kPollNval = 0x0020;  // not open; always asked for
inline constexpr PollEvents kPollRdNorm = 0x0040;
inline constexpr PollEvents kPollWrNorm = 0x0100;
// What is polled goes away: to wake functions only.
inline constexpr PollEvents kPollFree = 0x4000;
// How a file is watched, beside events: core/epoll.h.
inline constexpr PollEvents kEpollExclusive = PollEvents{1} << 28;
inline constexpr PollEvents kEpollOneshot = PollEvents{1} << 30;
inline constexpr PollEvents kEpollEt = PollEvents{1} << 31;

}  // namespace waitq

#endif  // WAITQ_CORE_POLL_EVENTS_H_
