// What a session's machine knows of the network: connections, one at a time,
// that carry messages; and a clock.

#ifndef WAITQ_CLIENT_SESSION_LINK_H_
#define WAITQ_CLIENT_SESSION_LINK_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace waitq {

// What it has to say, a link tells the machine: SessionMachine::OnMessage(),
// OnWritten(), OnClosed(), OnTimer(). Never from within these calls.
//
// Thread safety: any thread may call any method; the machine holds no lock, but
// for MayHaveArrived().
class SessionLink {
 public:
  virtual ~SessionLink() = default;

  // Makes a connection, which the machine calls by that number from now on. It
  // may be written to at once; OnClosed() says if nothing comes of it.
  virtual void Connect(uint64_t connection) = 0;
  // Sends a v1::SessionRequest. The next one comes after OnWritten().
  virtual void Write(uint64_t connection, std::string message) = 0;
  // Nothing that it says counts any more. (Of a connection that has ended or
  // was never made: nothing.)
  virtual void Disconnect(uint64_t connection) = 0;

  // Whether anything that was written to that connection may have reached the
  // server: not while it is still being made. True if that is not known. May be
  // called under the machine's lock.
  virtual bool MayHaveArrived([[maybe_unused]] uint64_t connection) {
    return true;
  }

  // OnTimer() is to come then, or a little later; or earlier, if it was to come
  // earlier already. With that all that was said before is done.
  virtual void SetTimer(absl::Time when) = 0;

  // A clock that is never set, and begins anywhere.
  virtual absl::Time Now() = 0;
};

}  // namespace waitq

#endif  // WAITQ_CLIENT_SESSION_LINK_H_
