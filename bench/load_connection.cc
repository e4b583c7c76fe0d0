#include "bench/load_connection.h"

#include <errno.h>

#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>

#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "transport/channel_arguments.h"

namespace waitq::bench {

void Die(const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, what.c_str());
  std::_Exit(1);  // calls that are under way go with the process
}

void DieUnlessOk(const grpc::Status& status, const std::string& what) {
  if (!status.ok()) Die(what + ": " + status.error_message());
}

namespace {

grpc::ChannelArguments Arguments() {
  grpc::ChannelArguments arguments = ClientArguments();
  // On a machine with other work, 100,000 answers can take longer than a server
  // may take to answer a ping.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, INT_MAX);
  return arguments;
}

}  // namespace

Connection::Connection(const std::string& address)
    : channel_(grpc::CreateCustomChannel(
          address, grpc::InsecureChannelCredentials(), Arguments())),
      stub_(channel_) {
  if (!channel_->WaitForConnected(std::chrono::system_clock::now() +
                                  std::chrono::seconds(10))) {
    Die("cannot connect to " + address);
  }
  thread_ = std::thread([this] { Serve(); });
}

Connection::~Connection() {
  queue_.Shutdown();
  thread_.join();
}

void Connection::Serve() {
  void* tag;
  bool ok;
  while (queue_.Next(&tag, &ok)) static_cast<Tag*>(tag)->Proceed(ok);
}

Connections Connect(const std::string& address, int count) {
  Connections connections;
  for (int i = 0; i < count; ++i) {
    connections.push_back(std::make_unique<Connection>(address));
  }
  return connections;
}

}  // namespace waitq::bench
