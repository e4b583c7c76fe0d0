// A TCP proxy whose connections a test cuts.

#ifndef WAITQ_TESTS_SUPPORT_CUTTING_PROXY_H_
#define WAITQ_TESTS_SUPPORT_CUTTING_PROXY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace waitq::test {

// Thread safety: any thread may call any method.
class CuttingProxy {
 public:
  // Passes on to `server`, "127.0.0.1:PORT".
  explicit CuttingProxy(const std::string& server);
  ~CuttingProxy();
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  const std::string& address() const { return address_; }

  // Resets all connections that there are; bytes on their way are lost. Gives
  // how many those were.
  int CutAll();
  // While refused, new connections are closed at once.
  void Refuse(bool refuse) { refuse_ = refuse; }
  // The bytes that were passed on so far, in both directions.
  uint64_t bytes() const { return bytes_; }

 private:
  struct Pair {
    int client;
    int server;
    std::atomic<bool> over{false};
    std::thread there;
    std::thread back;
  };

  void Accept();
  void Pump(Pair& pair, int from, int to);

  uint16_t server_port_;
  int listener_;
  std::string address_;
  std::atomic<bool> refuse_{false};
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> bytes_{0};
  std::mutex mu_;
  std::vector<std::unique_ptr<Pair>> pairs_;
  std::thread acceptor_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_SUPPORT_CUTTING_PROXY_H_
