DROP TABLE sticky_routes;
