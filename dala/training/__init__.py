"""Training and honest evaluation: recipe, features, fine-tuning, cross-validation, release; `tasks/`, one file each."""
