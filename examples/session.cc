// Five workers on one connection and without a thread of their own: each sleeps
// for a task with a callback. main() hands the tasks out, and waits until they
// are done, with calls that wait.

#include <cstdio>
#include <cstdlib>

#include "client/client.h"

int main() {
  constexpr int kWorkers = 5;
  const char* server = std::getenv("WAITQ_SERVER");
  auto client = waitq::Client::Create(
      {.server = server != nullptr ? server : waitq::kDefaultServer});

  for (int i = 0; client.ok() && i < kWorkers; ++i) {
    // Sleep until there is a task; take it in the same step.
    (*client)->Wait("example/tasks",
                    {.condition = {{waitq::Condition::Test::kGreater, 0}},
                     .then = waitq::Action::Add(-1)},
                    [&, i](absl::StatusOr<waitq::WaitResult> task) {
                      if (!task.ok()) return;  // main() meets the same error
                      std::printf("worker %d has a task\n", i);
                      (*client)->Complete("example/done", 1, [](auto) {});
                    });
  }
  absl::Status status = client.status();
  if (status.ok()) {
    status = (*client)
                 ->WakeUp("example/tasks",
                          {.update = waitq::Action::Add(kWorkers), .all = true})
                 .status();
  }
  for (int i = 0; status.ok() && i < kWorkers; ++i) {
    status = (*client)->Await("example/done").status();
  }
  std::puts(status.ok() ? "all done" : status.ToString().c_str());
  return status.ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}
