"""From sources to rows: files, folders and the hub, checked, cut into tasks and kept in the cache."""
