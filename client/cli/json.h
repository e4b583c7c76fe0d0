// What `waitq --json` prints: the server's answer in protobuf's JSON mapping,
// one line without its end. Pure functions.

#ifndef WAITQ_CLIENT_CLI_JSON_H_
#define WAITQ_CLIENT_CLI_JSON_H_

#include <cstdint>
#include <string>
#include <vector>

#include "client/client.h"
#include "client/types.h"

namespace waitq::cli {

std::string Json(const WaitResult& result);
std::string Json(const WakeResult& result);
std::string Json(const GetResult& result);
std::string Json(const StoreResult& result);
std::string Json(const AwaitResult& result);
std::string Json(const CompleteResult& result);
std::string Json(const ReadResult& result);
std::string Json(const WriteResult& result);
std::string Json(const PollResult& result);
std::string Json(const WaitAnyResult& result);
std::string Json(const PipeChunk& chunk);
std::string Json(const CreateResult& result);
std::string Json(const ObjectInfo& object);
std::string Json(const std::vector<ObjectInfo>& objects);
std::string Json(const std::vector<TaskInfo>& tasks);

// Answers that are a single number.
std::string JsonOfReinit(uint64_t generation);
std::string JsonOfRemove(uint64_t ended);
std::string JsonOfSignal(bool ended);
// How a stream of writes ended.
std::string JsonOfWriter(Outcome outcome, const PipeWriter& writer);

}  // namespace waitq::cli

#endif  // WAITQ_CLIENT_CLI_JSON_H_
