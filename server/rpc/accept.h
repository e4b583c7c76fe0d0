// A listener that survives a lack of descriptors.

#ifndef WAITQ_SERVER_RPC_ACCEPT_H_
#define WAITQ_SERVER_RPC_ACCEPT_H_

namespace waitq::rpc {

// Keeps one descriptor back. From now on a connection for which there is none
// left is accepted with that one and closed at once: its client hears of it,
// and tries again later.
//
// gRPC 1.51 gives a listener up for good when accept4(2) fails once
// (CVE-2023-4785), be it for a connection that was reset before it was
// accepted. So a program that has this file in it has an accept4() of its own,
// which the dynamic linker prefers to the C library's. Without this call it
// does what the C library's does, but for the errors that only concern the one
// connection.
//
// To be called once, before the server starts.
void KeepDescriptorForRefusals();

}  // namespace waitq::rpc

#endif  // WAITQ_SERVER_RPC_ACCEPT_H_
