"""The HTTP contract: routes, schemas, admission. Loads no model."""
