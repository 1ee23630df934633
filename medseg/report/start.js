startSorting();
startViewers();
