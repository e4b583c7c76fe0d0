#include "server/rpc/accept.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

namespace waitq::rpc {
namespace {

std::atomic<bool> is_kept{false};
// -1 while a thread uses it, or if it could not be opened again since.
std::atomic<int> spare{-1};

int OpenSpare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

int SystemAccept(int listener, sockaddr* peer, socklen_t* size, int flags) {
  return static_cast<int>(syscall(SYS_accept4, listener, peer, size, flags));
}

// Takes the first connection that waits, and closes it. False if there is none,
// or if it could not be taken.
bool RefuseOne(int listener) {
  if (!is_kept) return false;
  int kept = spare.exchange(-1);
  if (kept < 0) kept = OpenSpare();
  if (kept < 0) return false;
  close(kept);
  // Another thread may open something in between; then the connection stays
  // where it is until the next one comes.
  const int connection = SystemAccept(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (connection >= 0) close(connection);
  const int other = spare.exchange(OpenSpare());
  if (other >= 0) close(other);  // of a thread that was here meanwhile
  return connection >= 0;
}

}  // namespace

void KeepDescriptorForRefusals() {
  spare = OpenSpare();
  is_kept = true;
}

}  // namespace waitq::rpc

// For gRPC, which goes on after EINTR, waits for the next connection after
// EAGAIN, and never accepts again after anything else.
extern "C" int accept4(int listener, sockaddr* peer, socklen_t* size,
                       int flags) {
  for (;;) {
    const int connection =
        waitq::rpc::SystemAccept(listener, peer, size, flags);
    if (connection >= 0) return connection;
    switch (errno) {
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        if (waitq::rpc::RefuseOne(listener)) continue;
        errno = EAGAIN;
        return -1;
      // The connection's errors, of which accept(2) says: try the next one.
      case ECONNABORTED:
      case EPROTO:
      case EPERM:
      case ENETDOWN:
      case ENOPROTOOPT:
      case EHOSTDOWN:
      case ENONET:
      case EHOSTUNREACH:
      case ENETUNREACH:
        continue;
      default:
        return -1;
    }
  }
}
