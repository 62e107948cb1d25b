//! Raw clients, hostile clients and brokers in a box, for tests only.
