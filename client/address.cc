#include "client/address.h"

#include <sys/un.h>

#include <cstddef>
#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace waitq {
namespace {

constexpr char kUnixPrefix[] = "unix:";

absl::Status Malformed(const std::string& address, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("bad server address '", absl::CHexEscape(address),
                   "': ", what, " (HOST:PORT, [IPV6]:PORT or unix:PATH)"));
}

// Targets are URIs. The brackets of an IPv6 address are escaped too.
std::string PercentEncode(absl::string_view text) {
  std::string result;
  for (const char c : text) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
        absl::StrContains("-._~/:", absl::string_view(&c, 1))) {
      result += c;
    } else {
      absl::StrAppend(&result,
                      absl::StrFormat("%%%02X", static_cast<unsigned char>(c)));
    }
  }
  return result;
}

absl::StatusOr<std::string> UnixTarget(const std::string& address,
                                       const std::string& path) {
  if (path.empty()) return Malformed(address, "no path");
  // The kernel's limit, with the terminating zero.
  constexpr size_t kPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;
  std::error_code error;
  std::string absolute = std::filesystem::absolute(path, error).string();
  if (error || (absolute.size() > kPathBytesMax && path.front() != '/')) {
    absolute = absl::StrCat("/proc/self/cwd/", path);
  }
  if (absolute.size() > kPathBytesMax) {
    return Malformed(address, absl::StrCat("the path is longer than ",
                                           kPathBytesMax, " bytes"));
  }
  return absl::StrCat(kUnixPrefix, "//", PercentEncode(absolute));
}

}  // namespace

absl::StatusOr<std::string> AddressToTarget(const std::string& address) {
  if (absl::StartsWith(address, kUnixPrefix)) {
    return UnixTarget(address, address.substr(sizeof(kUnixPrefix) - 1));
  }
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return Malformed(address, "no port");
  const std::string host = address.substr(0, colon);
  const std::string port = address.substr(colon + 1);
  if (host.empty()) return Malformed(address, "no host");
  const bool bracketed =
      host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (!bracketed && absl::StrContains(host, ":")) {
    return Malformed(address, "an IPv6 address is written in brackets");
  }
  for (const char c : bracketed ? host.substr(1, host.size() - 2) : host) {
    // ':' and '%' (a zone) come in IPv6 addresses only.
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        !absl::StrContains(bracketed ? ".-_:%" : ".-_",
                           absl::string_view(&c, 1))) {
      return Malformed(address, "not a host");
    }
  }
  int number;
  if (port.empty() || !absl::ascii_isdigit(port.front()) ||
      !absl::SimpleAtoi(port, &number) || number < 1 || number > 65535) {
    return Malformed(address, "the port is not a number from 1 to 65535");
  }
  return absl::StrCat("dns:///", PercentEncode(host), ":", number);
}

}  // namespace waitq
