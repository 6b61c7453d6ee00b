"""What people look at: pages, films, plots, the viewer, and the tables of the documents."""
