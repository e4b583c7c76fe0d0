// The record that a program of the fault lab leaves.

#ifndef WAITQ_TESTS_FAULTS_RECORD_H_
#define WAITQ_TESTS_FAULTS_RECORD_H_

#include <string>
#include <string_view>
#include <vector>

namespace waitq::test {

// A line for each thing that the program knows, at the moment at which it knows
// it. A line is one write(2): it is there, whole, whatever happens next. It
// ends with the time, in nanoseconds of CLOCK_MONOTONIC.
//
// Thread safety: any thread may call any method.
class Record {
 public:
  // Appends to `path`.
  explicit Record(const std::string& path);
  ~Record();
  Record(const Record&) = delete;
  Record& operator=(const Record&) = delete;

  void Say(std::string_view what, const std::vector<std::string>& words);

 private:
  const int file_;
};

}  // namespace waitq::test

#endif  // WAITQ_TESTS_FAULTS_RECORD_H_
