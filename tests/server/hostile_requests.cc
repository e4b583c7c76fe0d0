#include "tests/server/hostile_requests.h"

#include <iterator>
#include <memory>

#include "absl/strings/str_cat.h"
#include "google/protobuf/duration.pb.h"
#include "waitq/v1/completions.pb.h"
#include "waitq/v1/objects.pb.h"
#include "waitq/v1/pipes.pb.h"
#include "waitq/v1/sessions.pb.h"
#include "waitq/v1/tasks.pb.h"
#include "waitq/v1/wait_queues.pb.h"

namespace waitq::test {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::Message;
using google::protobuf::MessageFactory;
using google::protobuf::MethodDescriptor;
using google::protobuf::OneofDescriptor;

constexpr uint64_t kEdges[] = {0,          1,           2,
                               63,         64,          65,
                               4095,       4096,        4097,
                               65535,      65536,       65537,
                               1 << 20,    INT32_MAX,   uint64_t{1} << 31,
                               UINT32_MAX, 0x100000000, INT64_MAX,
                               1ULL << 63, UINT64_MAX,  UINT64_MAX - 1};

// What bad_request_test.cc tries one by one, and worse.
const std::string kBadTexts[] = {"",
                                 " ",
                                 "a b",
                                 "*",
                                 "\xc3\x28",
                                 "\xff\xfe",
                                 "\xed\xa0\x80",  // half of a surrogate pair
                                 std::string("a\0b", 3),
                                 "%s%n",
                                 "../../etc/passwd",
                                 "\r\n",
                                 std::string(128, 'x'),
                                 std::string(129, 'x'),
                                 std::string(255, 'x'),
                                 std::string(256, 'x'),
                                 std::string(5'000, 'x'),
                                 std::string(70'000, '/')};

template <class T, size_t n>
const T& OneOf(const T (&all)[n], Random& random) {
  return all[random.Below(n)];
}

void AppendVarint(uint64_t number, std::string& to) {
  for (; number >= 128; number /= 128) {
    to.push_back(static_cast<char>(number % 128 + 128));
  }
  to.push_back(static_cast<char>(number));
}

}  // namespace

std::vector<const MethodDescriptor*> AllMethods() {
  // Named, so that they are linked; the pool knows no others of the package.
  const FileDescriptor* const files[] = {
      v1::WaitRequest::descriptor()->file(),
      v1::CompletionWaitRequest::descriptor()->file(),
      v1::ReadRequest::descriptor()->file(),
      v1::CreateRequest::descriptor()->file(),
      v1::ListTasksRequest::descriptor()->file(),
      v1::SessionRequest::descriptor()->file()};
  std::vector<const MethodDescriptor*> methods;
  for (const FileDescriptor* file : files) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        methods.push_back(file->service(s)->method(m));
      }
    }
  }
  return methods;
}

std::string PathOf(const MethodDescriptor& method) {
  return absl::StrCat("/", method.service()->full_name(), "/", method.name());
}

HostileRequests::HostileRequests(uint64_t seed)
    : random_(seed), methods_(AllMethods()) {}

const MethodDescriptor& HostileRequests::Method() {
  return *methods_[random_.Below(methods_.size())];
}

std::vector<std::string> HostileRequests::Messages(
    const MethodDescriptor& method) {
  const bool stream = method.client_streaming();
  int64_t count = stream ? random_.Between(1, 6) : 1;
  if (random_.OneIn(30)) count = random_.Between(0, 2);
  const bool tame = !random_.OneIn(4);
  std::vector<std::string> messages;
  for (int i = 0; i < count; ++i) {
    // What is wrong in a stream may come late.
    const bool this_tame = tame || (stream && random_.OneIn(2));
    messages.push_back(OneMessage(*method.input_type(), this_tame, i));
  }
  return messages;
}

void HostileRequests::Learn(const Message& response) {
  const auto& reflection = *response.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(response, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) {
      if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
      const int size = reflection.FieldSize(response, field);
      for (int i = 0; i < size; ++i) {
        Learn(reflection.GetRepeatedMessage(response, field, i));
      }
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      Learn(reflection.GetMessage(response, field));
    } else if (field->name() == "server_epoch") {
      epoch_ = reflection.GetUInt64(response, field);
    } else if (field->name() == "id" || field->name() == "hold_id") {
      ids_[learned_ids_++ % ids_.size()] =
          reflection.GetUInt64(response, field);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64) {
      numbers_[learned_++ % numbers_.size()] =
          reflection.GetUInt64(response, field);
    } else if (field->name() == "token") {
      sessions_[learned_sessions_++ % sessions_.size()] =
          reflection.GetString(response, field);
    } else if (field->name() == "next_page_token") {
      token_ = reflection.GetString(response, field);
    }
  }
}

std::string HostileRequests::OneMessage(const Descriptor& type, bool tame,
                                        int index) {
  index_ = index;
  const std::unique_ptr<Message> message(
      MessageFactory::generated_factory()->GetPrototype(&type)->New());
  Fill(*message, tame);
  // Also what is too long: the server's limit is its own.
  std::string bytes = message->SerializePartialAsString();
  if (!tame || random_.OneIn(16)) {
    for (uint64_t i = random_.Below(4); i > 0; --i) Damage(bytes);
  }
  return bytes;
}

// --- Values ------------------------------------------------------------------

void HostileRequests::Fill(Message& message, bool tame) {
  if (auto* const frame = dynamic_cast<v1::SessionRequest*>(&message)) {
    return FillFrame(*frame, tame);
  }
  const Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.real_oneof_decl_count(); ++i) {
    const FieldDescriptor* const field = Choose(*type.oneof_decl(i), tame);
    if (field != nullptr) FillField(message, *field, tame);
  }
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.real_containing_oneof() != nullptr) continue;
    // Names are there; of many other fields, some.
    const bool is_name = field.name() == "name";
    if (is_name ? random_.OneIn(tame ? 200 : 20)
                : random_.Below(6) >= (type.field_count() > 3 ? 2 : 5)) {
      continue;
    }
    FillField(message, field, tame);
  }
}

void HostileRequests::FillFrame(v1::SessionRequest& frame, bool tame) {
  if (index_ == 0) next_operation_ = 1;
  if ((index_ == 0) != random_.OneIn(tame ? 50 : 5)) {
    FillHello(*frame.mutable_hello(), tame);
  }
  frame.set_first_operation(tame ? next_operation_ : NumberInSession(tame));
  in_session_ = true;
  for (int64_t n = random_.Log(4); n > 0; --n) {
    v1::Operation& operation = *frame.add_operations();
    Fill(operation, tame);
    ++next_operation_;
    if (!tame || operation.handle() == 0) continue;
    // A handle's call names no pipe; other calls have no handle.
    if (operation.has_read()) {
      operation.mutable_read()->clear_name();
    } else if (operation.has_write()) {
      operation.mutable_write()->clear_name();
    } else {
      operation.clear_handle();
    }
  }
  in_session_ = false;
  const uint64_t few = tame ? 6 : 2;
  if (random_.OneIn(few)) frame.set_taken_up_to(NumberInSession(tame));
  while (random_.OneIn(few)) frame.add_taken(NumberInSession(tame));
  while (random_.OneIn(few)) frame.add_returned(NumberInSession(tame));
  while (random_.OneIn(few)) frame.add_cancels(NumberInSession(tame));
  while (random_.OneIn(few)) {
    v1::OperationSignal& signal = *frame.add_signals();
    signal.set_operation(NumberInSession(tame));
    signal.set_signal(tame ? v1::SignalRequest::SIGNAL_TERM
                           : static_cast<v1::SignalRequest::Signal>(
                                 static_cast<int>(Number(tame))));
  }
  if (random_.OneIn(4)) frame.set_heartbeat(Number(tame));
  frame.set_end(random_.OneIn(tame ? 20 : 5));
}

void HostileRequests::FillHello(v1::SessionRequest::Hello& hello, bool tame) {
  // Short: who is left alone holds on to things that others are to get.
  if (tame) {
    hello.mutable_grace()->set_nanos(
        static_cast<int32_t>(random_.Between(100'000'000, 300'000'000)));
  } else {
    Fill(hello, tame);
  }
  if (random_.OneIn(2)) return;
  hello.set_token(sessions_[random_.Below(sessions_.size())]);
  hello.set_server_epoch(epoch_);
  hello.set_results_received(NumberInSession(tame));
  hello.set_program(random_.Below(3));
  hello.set_attempt(random_.Below(3));
  // Its operations have had numbers.
  if (!hello.token().empty()) next_operation_ = random_.Between(1, 20);
}

const FieldDescriptor* HostileRequests::Choose(const OneofDescriptor& oneof,
                                               bool tame) {
  if (random_.OneIn(tame ? 50 : 5)) return nullptr;
  // A stream: `open` is the first field.
  if (oneof.name() == "request" && !in_session_ &&
      !random_.OneIn(tame ? 50 : 5)) {
    if (index_ == 0) return oneof.field(0);
    return oneof.field(
        static_cast<int>(random_.Between(1, oneof.field_count() - 1)));
  }
  return oneof.field(static_cast<int>(
      random_.Below(static_cast<uint64_t>(oneof.field_count()))));
}

void HostileRequests::FillField(Message& message, const FieldDescriptor& field,
                                bool tame) {
  const auto& reflection = *message.GetReflection();
  if (field.is_repeated()) {  // but for frames, only of PollStream
    for (int64_t n = random_.Log(3); n > 0; --n) {
      if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Fill(*reflection.AddMessage(&message, &field), tame);
      } else {
        reflection.AddUInt64(&message, &field, Unsigned(field, tame));
      }
    }
    return;
  }
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.SetBool(&message, &field, random_.OneIn(2));
    case FieldDescriptor::CPPTYPE_INT32:  // only of Duration
      return reflection.SetInt32(
          &message, &field,
          tame ? static_cast<int32_t>(random_.Below(20'000'000))
               : static_cast<int32_t>(Number(tame)));
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.SetUInt32(
          &message, &field,
          tame ? static_cast<uint32_t>(random_.Between(1, 3))
               : static_cast<uint32_t>(Number(tame)));
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection.SetInt64(&message, &field, Signed(field, tame));
    case FieldDescriptor::CPPTYPE_UINT64:
      return reflection.SetUInt64(&message, &field, Unsigned(field, tame));
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.SetEnumValue(
          &message, &field,
          tame ? field.enum_type()
                     ->value(
                         static_cast<int>(random_.Below(static_cast<uint64_t>(
                             field.enum_type()->value_count()))))
                     ->number()
               : static_cast<int>(Number(tame)));
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection.SetString(&message, &field,
                                  field.type() == FieldDescriptor::TYPE_BYTES
                                      ? Bytes(tame)
                                      : Text(field, tame));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return Fill(*reflection.MutableMessage(&message, &field), tame);
    default:
      return;
  }
}

std::string HostileRequests::Text(const FieldDescriptor& field, bool tame) {
  if (!tame && random_.OneIn(3)) return OneOf(kBadTexts, random_);
  if (in_session_ && !random_.OneIn(50) &&
      (field.name() == "caller" || field.name() == "request_id")) {
    return "";
  }
  if (field.name() == "page_token") return random_.OneIn(2) ? token_ : "";
  if (field.name() == "caller") return random_.OneIn(2) ? "fuzz" : "";
  if (field.name() == "request_id") {
    if (!random_.OneIn(4)) return "";
    return absl::StrCat("01234567-89ab-cdef-0123-45678901234",
                        random_.Below(8));
  }
  if (field.name() == "method") {
    const MethodDescriptor& method = Method();
    return absl::StrCat(method.service()->name(), "/", method.name());
  }
  if (field.name() == "prefix") return random_.OneIn(2) ? "a/" : "";
  // Few, of each kind of object.
  const std::string& file = field.file()->name();
  char kind = file.find("pipes") != file.npos         ? 'p'
              : file.find("sessions") != file.npos    ? 'p'
              : file.find("wait_queues") != file.npos ? 'q'
              : file.find("completions") != file.npos ? 'c'
                                                      : "pqc"[random_.Below(3)];
  if (random_.OneIn(20)) kind = "pqc"[random_.Below(3)];
  return absl::StrCat(random_.OneIn(4) ? "a/" : "", std::string(1, kind),
                      random_.Below(5));
}

int64_t HostileRequests::Signed(const FieldDescriptor& field, bool tame) {
  const bool is_time =
      field.containing_type() == google::protobuf::Duration::descriptor();
  if (!tame) return static_cast<int64_t>(Number(false));
  if (!is_time && random_.OneIn(8)) {
    return random_.OneIn(2) ? INT64_MAX : INT64_MIN;
  }
  // The word: few values, so that conditions meet them.
  return is_time ? 0 : random_.Between(-1, 2);
}

uint64_t HostileRequests::Unsigned(const FieldDescriptor& field, bool tame) {
  if (tame && (field.name() == "id" || field.name() == "hold_id")) {
    return ids_[random_.Below(ids_.size())];
  }
  if (tame && field.name() == "handle") {
    return random_.OneIn(2) ? 0 : random_.Below(next_operation_ + 1);
  }
  if (tame && field.name() == "server_epoch" && in_session_) {
    return random_.OneIn(50) ? epoch_ : 0;
  }
  if (tame && field.name() == "server_epoch") {
    return random_.OneIn(20) ? Number(tame) : random_.OneIn(2) ? epoch_ : 0;
  }
  return Number(tame);
}

uint64_t HostileRequests::Number(bool tame) {
  if (random_.OneIn(3)) return numbers_[random_.Below(numbers_.size())];
  if (tame) return static_cast<uint64_t>(random_.Log(17));
  if (random_.OneIn(2)) return OneOf(kEdges, random_);
  return static_cast<uint64_t>(random_.Log(63)) << random_.Below(2);
}

uint64_t HostileRequests::NumberInSession(bool tame) {
  return tame ? random_.Below(4) : Number(tame);
}

std::string HostileRequests::Bytes(bool tame) {
  // Small ones mostly, some as long as a message may be, or a little longer.
  size_t n = static_cast<size_t>(random_.Log(random_.OneIn(16) ? 17 : 12));
  if (!tame && random_.OneIn(8)) n = 131'000 + random_.Below(80);
  return std::string(n, static_cast<char>(random_.Below(256)));
}

// --- Bytes -------------------------------------------------------------------

void HostileRequests::Damage(std::string& bytes) {
  const size_t at = random_.Below(bytes.size() + 1);
  const size_t n = static_cast<size_t>(random_.Log(6));
  switch (random_.Below(8)) {
    case 0:  // some bits
      if (at < bytes.size()) bytes[at] ^= static_cast<char>(random_.Below(256));
      break;
    case 1:  // cut off
      bytes.resize(at);
      break;
    case 2:  // a piece is missing
      bytes.erase(at, n);
      break;
    case 3:  // a piece comes twice
      bytes.insert(at, bytes.substr(at, n));
      break;
    case 4:  // noise
      for (size_t i = 0; i < n; ++i) {
        bytes.insert(at, 1, static_cast<char>(random_.Below(256)));
      }
      break;
    case 5: {  // another field, also reserved and unknown ones, of any wire
               // type
      AppendVarint(random_.Below(40) * 8 + random_.Below(8), bytes);
      AppendVarint(Number(false), bytes);
      break;
    }
    case 6:  // the wire type of the first field
      if (!bytes.empty()) {
        bytes[0] = static_cast<char>((bytes[0] & ~7) |
                                     static_cast<int>(random_.Below(8)));
      }
      break;
    case 7:  // deeper than any message: groups, and lengths
      bytes.insert(at, std::string(random_.Below(300),
                                   random_.OneIn(2) ? '\x0b' : '\x0a'));
      break;
  }
}

}  // namespace waitq::test
