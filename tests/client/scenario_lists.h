// The parts of the list of scenarios.

#ifndef WAITQ_TESTS_CLIENT_SCENARIO_LISTS_H_
#define WAITQ_TESTS_CLIENT_SCENARIO_LISTS_H_

#include <vector>

#include "tests/client/scenarios.h"

namespace waitq::test {

const std::vector<Scenario>& WaitScenarios();  // wait queues, completions
const std::vector<Scenario>& PipeScenarios();
const std::vector<Scenario>& ObjectScenarios();  // and calls as such
const std::vector<Scenario>& KitScenarios();     // locks and their like
const std::vector<Scenario>& PollerScenarios();
const std::vector<Scenario>& AnyScenarios();  // any of several objects

}  // namespace waitq::test

#endif  // WAITQ_TESTS_CLIENT_SCENARIO_LISTS_H_
