// The page to try the API: Swagger UI, as its makers publish it, over the server's own definition.

for (const element of document.querySelectorAll("[data-definition]")) {
  globalThis.SwaggerUIBundle({
    url: element.dataset.definition,
    domNode: element,
    deepLinking: true,
    docExpansion: "none",
    displayRequestDuration: true,
    filter: true,
    tryItOutEnabled: true,
    validatorUrl: null,
  });
}
