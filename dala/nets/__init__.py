"""Networks, their weights and the runtime that serves them."""
