The daemon starts with about a seventh less work for the processor; so do its workers, and the process that takes over in `tgctl upgrade`.
