#include "bench/bulk_load.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "bench/load_connection.h"
#include "bench/tcp_socket.h"
#include "client/client.h"

namespace waitq::bench {
namespace {

std::unique_ptr<Client> Connect(const std::string& address) {
  auto client = Client::Create({.server = address, .caller = "compare_load"});
  if (!client.ok()) Die(client.status().ToString());
  return *std::move(client);
}

void DieUnlessDone(const absl::StatusOr<Outcome>& outcome, const char* what) {
  if (!outcome.ok()) Die(what + (": " + outcome.status().ToString()));
  if (*outcome != Outcome::kDone) Die(std::string(what) + " was cut short");
}

// Calls write(data) with so many bytes in all.
template <class Write>
void WriteAll(const BulkLoad& load, Write write) {
  const std::string bytes(load.write_bytes, 'x');
  for (uint64_t left = load.bytes; left > 0;) {
    const std::string_view data = std::string_view(bytes).substr(
        0, std::min<uint64_t>(left, bytes.size()));
    write(data);
    left -= data.size();
  }
}

void SendAll(int socket, std::string_view data) {
  while (!data.empty()) {
    const ssize_t sent = send(socket, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) Die("the relay is gone");
    data.remove_prefix(sent);
  }
}

}  // namespace

absl::Duration RunPipeBulk(const std::string& address, uint64_t capacity_bytes,
                           const BulkLoad& load) {
  const std::string name = "bulk." + std::to_string(getpid());
  const auto reading = Connect(address);
  const auto writing = Connect(address);
  if (!reading->CreatePipe(name, {.capacity_bytes = capacity_bytes}).ok()) {
    Die("cannot make the pipe");
  }
  auto reader = reading->OpenReader(name);
  if (!reader.ok()) Die(reader.status().ToString());
  auto writer = writing->OpenWriter(name);
  if (!writer.ok()) Die(writer.status().ToString());
  const absl::Time begin = absl::Now();
  std::thread thread([&] {
    WriteAll(load, [&](std::string_view data) {
      DieUnlessDone((*writer)->Write(data), "a write");
    });
    DieUnlessDone((*writer)->Close(), "the end");
  });
  uint64_t read = 0;
  for (;;) {
    const auto chunk = (*reader)->Read();
    if (!chunk.ok()) Die("a read: " + chunk.status().ToString());
    if (chunk->end.has_value()) break;
    read += chunk->data.size();
  }
  const absl::Duration taken = absl::Now() - begin;
  thread.join();
  if (read != load.bytes) Die("the reader did not get all of it");
  *writer = nullptr;
  *reader = nullptr;
  (void)reading->Remove(name);
  return taken;
}

absl::Duration RunTcpBulk(const std::string& in, const std::string& out,
                          const BulkLoad& load) {
  const int writing = ConnectTcp(in);
  const int reading = ConnectTcp(out);
  const absl::Time begin = absl::Now();
  std::thread thread([&] {
    WriteAll(load, [&](std::string_view data) { SendAll(writing, data); });
    shutdown(writing, SHUT_WR);
  });
  std::vector<char> buffer(load.write_bytes);
  uint64_t read = 0;
  for (;;) {
    const ssize_t n = recv(reading, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) Die("the relay is gone");
    if (n == 0) break;
    read += n;
  }
  const absl::Duration taken = absl::Now() - begin;
  thread.join();
  if (read != load.bytes) Die("the reader did not get all of it");
  close(writing);
  close(reading);
  return taken;
}

}  // namespace waitq::bench
