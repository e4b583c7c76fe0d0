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

namespace {

void SubmitClose(SessionMachine* machine, const OpenedPipe& pipe, bool broken,
                 bool again) {
  v1::Operation operation;
  operation.mutable_close()->set_handle(pipe.handle);
  operation.mutable_close()->set_broken(broken);
  machine->Submit(
      {.operation = std::move(operation),
       .done =
           [=](const absl::Status& status, v1::Result*, SessionReceipt) {
             // It has come with the word that its handle's call is to end, and
             // went before it: by now that has ended.
             if (again && ErrorReason(status) == "EBUSY") {
               SubmitClose(machine, pipe, broken, /*again=*/false);
             }
             return true;
           },
       .session = pipe.session});
}

}  // namespace

void ClosePipe(SessionMachine& machine, const OpenedPipe& pipe, bool broken) {
  SubmitClose(&machine, pipe, broken, /*again=*/true);
}

}  // namespace waitq
