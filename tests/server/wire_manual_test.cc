// The .proto files as a manual: each service, method and field that a client
// may send is explained there, and each method has tests in every language that
// has any.

#include <fstream>
#include <functional>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "google/protobuf/duration.pb.h"
#include "gtest/gtest.h"

namespace waitq::test {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using google::protobuf::FileDescriptorSet;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using google::protobuf::SourceLocation;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string ContentsOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << path;
  std::ostringstream contents;
  contents << file.rdbuf();
  return contents.str();
}

class WireManualTest : public testing::Test {
 protected:
  WireManualTest() {
    FileDescriptorSet set;
    EXPECT_TRUE(set.ParseFromString(ContentsOf("tests/server/protos.binpb")));
    FileDescriptorProto duration;
    google::protobuf::Duration::descriptor()->file()->CopyTo(&duration);
    pool_.BuildFile(duration);
    // Each after those that it imports.
    std::set<std::string> built;
    while (built.size() < static_cast<size_t>(set.file_size())) {
      const size_t before = built.size();
      for (const FileDescriptorProto& file : set.file()) {
        if (built.count(file.name()) > 0) continue;
        bool ready = true;
        for (const std::string& import : file.dependency()) {
          ready &= pool_.FindFileByName(import) != nullptr;
        }
        if (!ready) continue;
        files_.push_back(pool_.BuildFile(file));
        built.insert(file.name());
      }
      if (built.size() == before) break;
    }
    EXPECT_EQ(built.size(), static_cast<size_t>(set.file_size()));
  }

  void ForEachMethod(
      const std::function<void(const MethodDescriptor&)>& see) const {
    for (const FileDescriptor* file : files_) {
      for (int s = 0; s < file->service_count(); ++s) {
        for (int m = 0; m < file->service(s)->method_count(); ++m) {
          see(*file->service(s)->method(m));
        }
      }
    }
  }

 private:
  DescriptorPool pool_;
  std::vector<const FileDescriptor*> files_;
};

// The comment above, or behind, what was declared; in one line.
template <class Declared>
std::string CommentOf(const Declared& declared) {
  SourceLocation location;
  if (!declared.GetSourceLocation(&location)) return "";
  std::string text =
      absl::StrCat(location.leading_comments, " ", location.trailing_comments);
  absl::RemoveExtraAsciiWhitespace(&text);
  return text;
}

int LineOf(const FieldDescriptor& field) {
  SourceLocation location;
  EXPECT_TRUE(field.GetSourceLocation(&location));
  return location.start_line;
}

// The fields of a request, those of the messages inside it included.
void AddFields(const Descriptor& message,
               std::vector<const FieldDescriptor*>& fields,
               std::set<const Descriptor*>& seen) {
  if (!absl::StartsWith(message.full_name(), "waitq.") ||
      !seen.insert(&message).second) {
    return;
  }
  for (int f = 0; f < message.field_count(); ++f) {
    fields.push_back(message.field(f));
    if (message.field(f)->message_type() != nullptr) {
      AddFields(*message.field(f)->message_type(), fields, seen);
    }
  }
}

// --- What is explained -------------------------------------------------------

TEST_F(WireManualTest, EveryServiceAndMethodIsExplained) {
  int methods = 0;
  ForEachMethod([&](const MethodDescriptor& method) {
    ++methods;
    EXPECT_GT(CommentOf(method).size(), 20u) << method.full_name();
    EXPECT_GT(CommentOf(*method.service()).size(), 20u)
        << method.service()->full_name();
  });
  EXPECT_GE(methods, 26);
}

// The statuses are named where the method is, or for all of a service.
TEST_F(WireManualTest, EveryMethodsStatusesAreListed) {
  ForEachMethod([&](const MethodDescriptor& method) {
    const std::string text =
        absl::StrCat(CommentOf(*method.service()), " ", CommentOf(method));
    EXPECT_THAT(text,
                testing::AnyOf(HasSubstr("INVALID_ARGUMENT"),
                               HasSubstr("the statuses listed at WaitQueues")))
        << method.full_name();
    // A session does not: its operations do, which are requests of others.
    const bool sleeps =
        method.input_type()->FindFieldByName("timeout") != nullptr ||
        method.input_type()->FindFieldByName("open") != nullptr;
    if (!sleeps) return;
    const std::string own = CommentOf(method);
    // Or it says whose statuses they are.
    if (absl::StrContains(own, "Statuses as ")) return;
    EXPECT_THAT(own, AllOf(HasSubstr("OK: DONE"), HasSubstr("EINTR"),
                           HasSubstr("EIDRM"), HasSubstr("CANCELLED"),
                           HasSubstr("DEADLINE_EXCEEDED")))
        << method.full_name();
  });
}

// A status with a reason, as in "ABORTED (EINTR, EIDRM)", is one that the
// server may give together.
TEST_F(WireManualTest, StatusesAndReasonsFitTogether) {
  const std::map<std::string, std::set<std::string>> reasons = {
      {"INVALID_ARGUMENT", {"EINVAL", "EMSGSIZE"}},
      {"FAILED_PRECONDITION", {"ENXIO", "EPIPE", "EBUSY", "ESTALE", "EBADF"}},
      {"RESOURCE_EXHAUSTED", {"ENOSPC"}},
      {"UNAVAILABLE", {"ESHUTDOWN"}},
      {"OUT_OF_RANGE", {"ERANGE"}},
      {"ABORTED", {"EINTR", "EIDRM", "EOWNERDEAD"}},
      {"CANCELLED", {"ECANCELED"}},
      {"DEADLINE_EXCEEDED", {"ETIME"}},
      {"NOT_FOUND", {"ENOENT", "ESRCH"}},
      {"ALREADY_EXISTS", {"EEXIST"}},
  };
  const std::regex pair("([A-Z_]{7,}) \\((E[A-Z0-9]+(?:, E[A-Z0-9]+)*)\\)");
  const std::regex reason("E[A-Z0-9]+");
  int pairs = 0;
  const auto check = [&](const std::string& text, const std::string& where) {
    for (std::sregex_iterator it(text.begin(), text.end(), pair), end;
         it != end; ++it) {
      const auto row = reasons.find((*it)[1]);
      ASSERT_NE(row, reasons.end()) << where << ": " << it->str();
      const std::string list = (*it)[2];
      for (std::sregex_iterator r(list.begin(), list.end(), reason); r != end;
           ++r, ++pairs) {
        EXPECT_EQ(row->second.count(r->str()), 1u)
            << where << ": " << it->str();
      }
    }
  };
  std::set<const ServiceDescriptor*> services;
  ForEachMethod([&](const MethodDescriptor& method) {
    check(CommentOf(method), method.full_name());
    if (services.insert(method.service()).second) {
      check(CommentOf(*method.service()), method.service()->full_name());
    }
  });
  EXPECT_GT(pairs, 20) << "they are not found any more";
}

// Each by a comment of its own, or by one that is said to be for several:
// "As WaitRequest's fields of the same names."
TEST_F(WireManualTest, EveryFieldOfARequestIsExplained) {
  std::vector<const FieldDescriptor*> fields;
  std::set<const Descriptor*> seen;
  ForEachMethod([&](const MethodDescriptor& method) {
    AddFields(*method.input_type(), fields, seen);
  });
  ASSERT_GT(fields.size(), 50u);
  std::string group;
  int group_line = 0;
  for (const FieldDescriptor* field : fields) {
    std::string comment = CommentOf(*field);
    if (!comment.empty()) {
      group = comment;
    } else if (LineOf(*field) == group_line + 1) {
      comment = group;
      // The members of a choice are explained by it and their names.
      const bool is_for_several =
          absl::StrContains(group, "of the same names") ||
          absl::StrContains(group, "therwise as W") ||
          field->containing_oneof() != nullptr;
      EXPECT_TRUE(is_for_several)
          << field->full_name() << " has no comment but that of its neighbour";
    }
    group_line = LineOf(*field);
    if (field->real_containing_oneof() != nullptr) continue;
    EXPECT_FALSE(comment.empty()) << field->full_name() << " is not explained";
    const bool refers = absl::StrContains(comment, "As ") ||
                        absl::StrContains(comment, "therwise as ");
    // What it is if it is absent, when that is not 0.
    if (field->has_presence() && !refers) {
      EXPECT_THAT(absl::AsciiStrToLower(comment), HasSubstr("absent"))
          << field->full_name();
    }
  }
}

// --- What is tested ----------------------------------------------------------

TEST_F(WireManualTest, EveryMethodIsCalledInCpp) {
  std::string tests;
  for (const char* file :
       {"bad_request_test.cc", "poll_stream_test.cc", "read_stream_test.cc",
        "repeated_call_test.cc", "services_test.cc", "session_call_test.cc",
        "sleep_end_test.cc", "wait_any_test.cc", "write_stream_test.cc"}) {
    tests += ContentsOf(absl::StrCat("tests/server/", file));
  }
  ForEachMethod([&](const MethodDescriptor& method) {
    // Requests have their methods; streams have a class each.
    const std::string call = method.client_streaming()
                                 ? method.name()
                                 : "v1::" + method.input_type()->name();
    EXPECT_TRUE(std::regex_search(tests, std::regex("\\b" + call + "\\b")))
        << method.full_name();
  });
}

// That these calls are really made, each suite checks when it runs.
TEST_F(WireManualTest, EveryMethodIsCalledInTheOtherLanguages) {
  const std::map<std::string, std::string> stubs = {
      {"WaitQueues", "queues"}, {"Completions", "completions"},
      {"Pipes", "pipes"},       {"Objects", "objects"},
      {"Tasks", "tasks"},       {"Sessions", "sessions"},
  };
  for (const char* file : {"python_client.py", "node_client.js"}) {
    const std::string suite = ContentsOf(absl::StrCat("tests/foreign/", file));
    ForEachMethod([&](const MethodDescriptor& method) {
      const auto stub = stubs.find(method.service()->name());
      ASSERT_NE(stub, stubs.end()) << method.service()->name();
      const std::regex call(
          absl::StrCat("\\b", stub->second, "\\.", method.name(), "\\b"));
      EXPECT_TRUE(std::regex_search(suite, call))
          << file << ": " << method.full_name();
    });
  }
}

}  // namespace
}  // namespace waitq::test
