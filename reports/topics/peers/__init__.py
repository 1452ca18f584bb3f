"""Our model beside other implementations, and without each of its optimisations."""
