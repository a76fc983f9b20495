//! The shim's seams: ttrpc framing, the task service, the attach socket
