"""Training and honest evaluation: recipe, features, fine-tuning, cross-validation, release; `tasks/` has a file a task."""
