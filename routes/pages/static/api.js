for(let e of document.querySelectorAll("[data-definition]"))globalThis.SwaggerUIBundle({url:e.dataset.definition,domNode:e,deepLinking:!0,docExpansion:"none",displayRequestDuration:!0,filter:!0,tryItOutEnabled:!0,validatorUrl:null});
//# sourceMappingURL=api.js.map
