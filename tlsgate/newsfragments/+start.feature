The daemon, its workers, and the process that takes over in `tgctl upgrade` start with less work for the processor.
