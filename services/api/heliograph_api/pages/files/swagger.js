// Shows what the api says of itself. In a file of its own: the page's policy allows no script within the page.
"use strict";

SwaggerUIBundle({
  url: "openapi.json", // from the page's own address, which a proxy may have put under a path
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // it would be a public service
});
