// What every method of every service owes, whatever else it does.

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "gtest/gtest.h"
#include "tests/server/fixture.h"

namespace waitq::test {
namespace {

using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using google::protobuf::MethodDescriptor;
using ::testing::SizeIs;

// The .proto files of the wire, with their comments.
FileDescriptorSet Protos() {
  std::ifstream file("tests/server/protos.binpb", std::ios::binary);
  FileDescriptorSet set;
  EXPECT_TRUE(set.ParseFromIstream(&file));
  return set;
}

std::string PathOf(const MethodDescriptor& method) {
  return absl::StrCat("/", method.service()->full_name(), "/", method.name());
}

// Every method that the .proto files declare, whoever serves it.
std::vector<const MethodDescriptor*> AllMethods() {
  std::vector<const MethodDescriptor*> methods;
  const FileDescriptorSet protos = Protos();
  for (const FileDescriptorProto& file : protos.file()) {
    const auto* known =
        google::protobuf::DescriptorPool::generated_pool()->FindFileByName(
            file.name());
    EXPECT_NE(known, nullptr) << file.name();
    if (known == nullptr) continue;
    for (int s = 0; s < known->service_count(); ++s) {
      for (int m = 0; m < known->service(s)->method_count(); ++m) {
        methods.push_back(known->service(s)->method(m));
      }
    }
  }
  return methods;
}

class ContractTest : public EverywhereTest {};
WAITQ_TEST_EVERYWHERE(ContractTest);

TEST_P(ContractTest, EveryMethodIsServed) {
  const auto methods = AllMethods();
  ASSERT_THAT(methods, SizeIs(26));
  for (const MethodDescriptor* method : methods) {
    const grpc::Status status = CallWithBytes(client(), PathOf(*method), "");
    EXPECT_NE(status.error_code(), grpc::StatusCode::UNIMPLEMENTED)
        << method->full_name();
  }
}

TEST_P(ContractTest, BytesThatAreNoMessageAreRefusedByEveryMethod) {
  // A tag and no value; a wrong wire type; a length beyond the end; a number
  // that never ends.
  const std::string garbages[] = {"\x0a", "\x0f\x01", "\x0a\x7fx",
                                  std::string(20, '\xff')};
  for (const std::string& garbage : garbages) {
    for (const MethodDescriptor* method : AllMethods()) {
      const grpc::Status status =
          CallWithBytes(client(), PathOf(*method), garbage);
      EXPECT_THAT(status,
                  FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"))
          << method->full_name();
    }
  }
}

TEST_P(ContractTest, UnknownFieldsAreIgnored) {
  // Field 1000, of a client that is newer than this server.
  const std::string unknown = "\xc0\x3e\x01";
  std::string response;
  EXPECT_THAT(
      CallWithBytes(client(), "/waitq.v1.Objects/List", unknown, &response),
      IsOk());
}

TEST_P(ContractTest, UnknownMethodsAreUnimplemented) {
  for (const char* method :
       {"/waitq.v1.WaitQueues/Dance", "/waitq.v1.Sessions/Detach",
        "/waitq.v2.WaitQueues/Wait", "/waitq.v1.WaitQueues", "/"}) {
    EXPECT_EQ(CallWithBytes(client(), method, "").error_code(),
              grpc::StatusCode::UNIMPLEMENTED)
        << method;
  }
}

// The fields that clients may send as strings, with bytes that are no UTF-8.
TEST_P(ContractTest, TextThatIsNotUtf8IsRefusedByEveryMethod) {
  for (const MethodDescriptor* method : AllMethods()) {
    if (method->client_streaming()) continue;  // its text is further in
    const auto& request = *method->input_type();
    for (int f = 0; f < request.field_count(); ++f) {
      const auto& field = *request.field(f);
      if (field.type() != field.TYPE_STRING) continue;
      const int tag = field.number() << 3 | 2;
      ASSERT_LT(tag, 1 << 14);
      std::string bytes;
      if (tag >= 1 << 7) bytes.push_back(static_cast<char>(tag | 0x80));
      bytes.push_back(static_cast<char>(tag >= 1 << 7 ? tag >> 7 : tag));
      bytes += std::string("\2\xc3\x28", 3);
      EXPECT_THAT(CallWithBytes(client(), PathOf(*method), bytes),
                  FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"))
          << field.full_name();
    }
  }
  const std::pair<const char*, std::string> in_streams[] = {
      {"Pipes/ReadStream", "\x0a\4\x0a\2\xc3\x28"},   // open.name
      {"Pipes/WriteStream", "\x0a\4\x0a\2\xc3\x28"},  // open.name
      {"Sessions/Attach", "\x0a\4\x2a\2\xc3\x28"},    // hello.caller
  };
  for (const auto& [method, bytes] : in_streams) {
    EXPECT_THAT(
        CallWithBytes(client(), absl::StrCat("/waitq.v1.", method), bytes),
        FailsWith(grpc::StatusCode::INVALID_ARGUMENT, "EINVAL"))
        << method;
  }
}

}  // namespace
}  // namespace waitq::test
