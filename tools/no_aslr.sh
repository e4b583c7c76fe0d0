#!/bin/bash
# Runs a program without address space randomisation, which TSan cannot always
# bear. Where the machine forbids to switch it off, it runs the program as it is.
if setarch -R true 2>/dev/null; then
  exec setarch -R "$@"
fi
exec "$@"
