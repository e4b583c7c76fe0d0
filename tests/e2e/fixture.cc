#include "tests/e2e/fixture.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <random>

#include "waitq/v1/objects.grpc.pb.h"
#include "waitq/v1/tasks.grpc.pb.h"

namespace waitq::test {
namespace {

std::vector<std::string> Command(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {BuiltProgram("client/cli/waitq")};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

Result ResultOf(Process& process, const std::vector<std::string>& command) {
  const std::optional<int> exit = process.WaitFor();
  EXPECT_TRUE(exit.has_value())
      << "still running: " << ::testing::PrintToString(command);
  return {exit.value_or(-1), process.Output(), process.Errors()};
}

std::chrono::system_clock::time_point Deadline() {
  return std::chrono::system_clock::now() + absl::ToChronoSeconds(kBound);
}

}  // namespace

WaitqTest::WaitqTest() {
  // What programs that are killed had under way is not waited for as long as
  // for people's.
  setenv("WAITQ_GRACE", "3s", /*overwrite=*/1);
}

void WaitqTest::TearDown() {
  clients_.clear();
  if (server_ == nullptr) return;
  EXPECT_TRUE(server_->process().IsRunning()) << "the server is gone:\n"
                                              << server_->process().Errors();
  AwaitSleepers("", 0);
}

void WaitqTest::StartServer(const std::string& listen,
                            const std::vector<std::string>& flags) {
  server_.reset();  // it may have the port that the new one wants
  server_ = std::make_unique<Waitqd>(listen, flags);
  grpc::ChannelArguments arguments;
  // A connection of this test's own, and no long pause after a failed attempt.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  arguments.SetMaxSendMessageSize(-1);
  channel_ = grpc::CreateCustomChannel(
      server_->address(), grpc::InsecureChannelCredentials(), arguments);
  // Now, so that calls of the tests need not care whether they are the first.
  EXPECT_TRUE(channel_->WaitForConnected(Deadline()));
}

void WaitqTest::ForgetServer() {
  server_.reset();
  channel_.reset();
}

Result WaitqTest::Waitq(const std::vector<std::string>& arguments,
                        std::string_view input) {
  ProcessOptions options;
  options.input_pipe = !input.empty();
  if (server_ != nullptr) {
    options.environment = {{"WAITQ_SERVER", server_->address()}};
  }
  Process process(Command(arguments), options);
  if (!input.empty()) process.WriteInput(input);
  process.CloseInput();
  return ResultOf(process, arguments);
}

std::string WaitqTest::WaitqOk(const std::vector<std::string>& arguments,
                               std::string_view input) {
  const Result result = Waitq(arguments, input);
  EXPECT_EQ(result.exit, 0)
      << ::testing::PrintToString(arguments) << ": " << result.err;
  return result.out;
}

Process& WaitqTest::StartWaitq(const std::vector<std::string>& arguments,
                               const ProcessOptions& options) {
  ProcessOptions with_server = options;
  with_server.environment.emplace_back("WAITQ_SERVER", server_->address());
  clients_.push_back(
      std::make_unique<Process>(Command(arguments), with_server));
  return *clients_.back();
}

v1::ObjectStat WaitqTest::Stat(const std::string& name) {
  const auto stub = v1::Objects::NewStub(channel_);
  grpc::ClientContext context;
  context.set_deadline(Deadline());
  v1::StatRequest request;
  request.set_name(name);
  v1::StatResponse response;
  const grpc::Status status = stub->Stat(&context, request, &response);
  EXPECT_TRUE(status.ok() || status.error_code() == grpc::StatusCode::NOT_FOUND)
      << status.error_message();
  return response.object();
}

std::vector<v1::Task> WaitqTest::Sleepers(const std::string& name) {
  const auto stub = v1::Tasks::NewStub(channel_);
  v1::ListTasksRequest request;
  request.set_name(name);
  std::vector<v1::Task> sleepers;
  do {
    grpc::ClientContext context;
    context.set_deadline(Deadline());
    v1::ListTasksResponse response;
    const grpc::Status status = stub->List(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    sleepers.insert(sleepers.end(), response.tasks().begin(),
                    response.tasks().end());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return sleepers;
}

void WaitqTest::AwaitSleepers(const std::string& name, size_t count) {
  size_t seen = 0;
  EXPECT_TRUE(Await([&] {
    seen = Sleepers(name).size();
    return seen == count || HasFailure();
  })) << "asleep on '"
      << name << "': " << seen << ", not " << count;
}

::testing::AssertionResult FailsClearly(const Result& result, int exit,
                                        const std::vector<std::string>& words) {
  const auto failure = [&result] {
    return ::testing::AssertionFailure()
           << "exit " << result.exit << ", standard error:\n"
           << result.err << "standard output:\n"
           << result.out;
  };
  if (result.exit != exit) return failure() << "expected exit " << exit;
  if (std::count(result.err.begin(), result.err.end(), '\n') != 1 ||
      result.err.back() != '\n') {
    return failure() << "expected one line";
  }
  for (const std::string& word : words) {
    if (result.err.find(word) == std::string::npos) {
      return failure() << "expected it to name '" << word << "'";
    }
  }
  return ::testing::AssertionSuccess();
}

::testing::AssertionResult SameContents(const std::string& a,
                                        const std::string& b) {
  std::ifstream in_a(a, std::ios::binary);
  std::ifstream in_b(b, std::ios::binary);
  if (!in_a || !in_b) {
    return ::testing::AssertionFailure() << "cannot read " << a << ", " << b;
  }
  std::string chunk_a(1 << 20, '\0');
  std::string chunk_b(1 << 20, '\0');
  int64_t before = 0;
  while (true) {
    in_a.read(chunk_a.data(), static_cast<std::streamsize>(chunk_a.size()));
    in_b.read(chunk_b.data(), static_cast<std::streamsize>(chunk_b.size()));
    const std::string_view got_a(chunk_a.data(),
                                 static_cast<size_t>(in_a.gcount()));
    const std::string_view got_b(chunk_b.data(),
                                 static_cast<size_t>(in_b.gcount()));
    if (got_a != got_b) {
      return ::testing::AssertionFailure()
             << a << " and " << b << " differ at or after byte "
             << before +
                    std::mismatch(got_a.begin(), got_a.end(), got_b.begin(),
                                  got_b.end())
                        .first -
                    got_a.begin();
    }
    if (got_a.empty()) return ::testing::AssertionSuccess();
    before += in_a.gcount();
  }
}

void WriteNoise(const std::string& path, uint64_t size) {
  std::ofstream out(path, std::ios::binary);
  std::mt19937_64 noise(size);
  std::string chunk;
  while (size > 0) {
    chunk.clear();
    while (chunk.size() < std::min<uint64_t>(size, 1 << 20)) {
      const uint64_t word = noise();
      chunk.append(reinterpret_cast<const char*>(&word), sizeof word);
    }
    chunk.resize(std::min<uint64_t>(size, 1 << 20));
    out.write(chunk.data(), static_cast<std::streamsize>(chunk.size()));
    size -= chunk.size();
  }
  ASSERT_TRUE(out.flush().good()) << "cannot write " << path;
}

}  // namespace waitq::test
