#include "client/pipe_streams.h"

#include <utility>

#include "client/client_impl.h"
#include "client/error.h"
#include "client/wire.h"

namespace waitq {

absl::Status OfPipe(absl::Status status, const std::string& name) {
  if (ErrorObject(status).empty()) SetErrorField(status, kObjectKey, name);
  return status;
}

absl::StatusOr<OpenedPipe> OpenPipe(SessionMachine& machine,
                                    const std::string& name, bool write,
                                    const std::optional<PipeOptions>& options,
                                    const std::stop_token& stop) {
  Plan plan{.object = name};
  v1::OpenRequest& request = *plan.Message().mutable_open();
  request.set_name(name);
  request.set_write(write);
  if (options.has_value()) *request.mutable_options() = ToWire(*options);
  SessionReceipt receipt;
  absl::StatusOr<OpenedPipe> opened = WaitFor<OpenedPipe>(
      machine, std::move(plan),
      [](v1::Result& result) -> absl::StatusOr<OpenedPipe> {
        return OpenedPipe{.handle = result.operation(),
                          .offset = result.open().offset(),
                          .incarnation = result.open().incarnation(),
                          .mode = result.open().mode() == v1::PIPE_MODE_PACKET
                                      ? PipeMode::kPacket
                                      : PipeMode::kStream};
      },
      stop, &receipt);
  if (!opened.ok()) return opened;
  opened->session = receipt.session;
  machine.Settle(receipt);
  return opened;
}

void ClosePipe(SessionMachine& machine, const OpenedPipe& pipe, bool broken) {
  v1::Operation operation;
  operation.mutable_close()->set_handle(pipe.handle);
  operation.mutable_close()->set_broken(broken);
  // It comes with the word that its handle's call is to end, and goes before
  // it; and one that is uninterruptible runs on.
  operation.mutable_close()->set_when_idle(true);
  machine.Submit({.operation = std::move(operation),
                  .done = [](const absl::Status&, v1::Result*,
                             SessionReceipt) { return true; },
                  .session = pipe.session});
}

}  // namespace waitq
