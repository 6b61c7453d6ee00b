"""What people look at: films, plots, the viewer, and the tables of the documents."""
